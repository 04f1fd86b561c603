"""Videos of an evaluation: found, identified by content, decoded once.

Besides video files an evaluation reads raw frames, untouched by any codec: ``.npz`` files written by :func:`save_raw`.
"""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError, UsageError
from genkit.files.container import FORMATS
from genkit.files.decode import TooLittleMemory, check_fits, read_film, read_header
from genkit.video.raw import save_raw as save_raw
from genkit.video.recipe import recipe_of
from genkit.video.video import Video

DECODE = "rgb24-exact.2"
"""Identifies how frames are read from a file; part of every row's key. Raw frames are read unchanged."""
DECODE_TAGGED = "rgb24-usual.2"
"""The same with colours converted bit for bit as other tools do."""
SUFFIXES = (*FORMATS, ".npz")
"""File types that can be read."""
UNREAD = (".3gp", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".vob", ".wmv", ".y4m")
"""Other video files: those in a folder are not skipped but reported as unreadable."""
COPIES = 3
"""Memory for measuring a clip, in multiples of its size: the lite suite needs 2.4 for 120 frames of 720p."""
RAW_TEXT = 2**26
"""Maximum size in bytes of the frame rate, and of the request, stored beside raw frames."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video of an evaluation, not decoded yet."""

    path: Path
    name: str
    """Name in reports: the path inside the given folder, else the file name."""
    sha256: str
    """Hash of the file's bytes."""
    request: dict[str, Any]
    """The stored request from the file's metadata; empty if there is none."""

    @property
    def identity(self) -> tuple[str, str]:
        """The key of its frames: the bytes, and the format given by its suffix."""
        suffix = self.path.suffix.lower()
        return self.sha256, FORMATS.get(suffix, suffix)

    @property
    def cluster(self) -> str:
        """The prompt that groups it with other samples.

        The prompt in its metadata; without one its name without suffix and trailing ``-NUMBER``, since many tools
        name their samples ``PROMPT-0.mp4``, ``PROMPT-1.mp4``.
        """
        prompt = self.request.get("prompt")
        if prompt is not None:
            return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
        return re.sub(r"-\d+$", "", self.name.removesuffix(self.path.suffix))


def find(paths: Iterable[Path]) -> list[Clip]:
    """Return the videos in files and folders (with their subfolders), sorted by name.

    Raises:
        UsageError: a path does not exist or cannot be read, nothing is found, or two videos have the same name.
    """
    named = [pair for path in paths for pair in _list_videos(path)]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two videos are called {twice[0]!r}; evaluate each folder into a run of its own and compare the runs"
        )
    return [clip_of(path, name) for name, path in sorted(named)]


def clip_of(path: Path, name: str) -> Clip:
    """Return one file with its hash and its stored request.

    Raises:
        UsageError: the file cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    return Clip(path=path, name=name, sha256=digest.hexdigest(), request=_request(path))


def decode(path: Path) -> Video:
    """Return all frames of a video.

    Raises:
        GenkitError: the file is not a video, is damaged, or contains fewer than two frames.
    """
    return _decode(path, tagged=False)


def decode_tagged(path: Path) -> Video:
    """Return what :func:`decode` returns, its colours converted bit for bit as by OpenCV, decord and PyAV.

    They differ from the exact ones by at most two levels.
    """
    return _decode(path, tagged=True)


def _decode(path: Path, tagged: bool) -> Video:
    try:
        video = _read_raw(path) if path.suffix.lower() == ".npz" else _read_file(path, tagged)
    except GenkitError:
        raise
    except MemoryError as error:
        raise TooLittleMemory(f"not enough memory for the frames of {str(path)!r}") from error
    except Exception as error:  # a damaged archive raises almost anything
        raise GenkitError(f"{str(path)!r} cannot be decoded: {str(error) or type(error).__name__}") from error
    if len(video.frames) < 2:
        raise GenkitError(f"{str(path)!r} contains only one frame; a video has at least two")
    return video


def _read_file(path: Path, tagged: bool) -> Video:
    film = read_film(path, tagged=tagged, copies=COPIES)
    return Video(film.frames, film.fps)


def _read_raw(path: Path) -> Video:
    with zipfile.ZipFile(path) as archive:
        check_fits(f"the raw frames in {str(path)!r}", archive.getinfo("frames.npy").file_size, COPIES)
        fps = float(_read_small(archive, "fps"))
        return Video(_read_array(archive, "frames"), fps)


def _read_small(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    if (size := archive.getinfo(f"{name}.npy").file_size) > RAW_TEXT:
        raise GenkitError(f"{name!r} in {archive.filename!r} has {size:,} bytes; at most {RAW_TEXT:,} are read")
    return _read_array(archive, name)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array; zipfile never unpacks more bytes than the size that was checked."""
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _request(path: Path) -> dict[str, Any]:
    """Return the stored request; empty if it is missing or damaged."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                request = json.loads(str(_read_small(archive, "request")))
                return request if isinstance(request, dict) else {}
        return recipe_of(path, read_header(path)).request
    except Exception:  # a damaged archive raises almost anything
        return {}


def _list_videos(path: Path) -> list[tuple[str, Path]]:
    if path.is_dir():
        files = [file for file in _files_in(path) if file.suffix.lower() in SUFFIXES + UNREAD]
        shown = [file for file in files if not file.name.startswith(".")]
        if not shown:
            raise UsageError(f"there is no video in {str(path)!r}; it takes files that end in {', '.join(SUFFIXES)}")
        return [(file.relative_to(path).as_posix(), file) for file in shown]
    if not path.exists():
        raise UsageError(f"there is no file or folder {str(path)!r}")
    if not path.is_file():  # a named pipe would block, a device would never end
        raise UsageError(f"{str(path)!r} is neither a file nor a folder; name a video file")
    return [(path.name, path)]


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders; raise if one cannot be opened."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error

    found = [Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names]
    return [file for file in found if file.is_file()]
