"""The videos of an evaluation: finding them, naming them by content, decoding them once.

Besides video files an evaluation takes raw frames, which no codec has touched: ``.npz`` files as :func:`save_raw`
writes them.
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
"""Names how frames come out of a file; a part of every row's key. Raw frames are taken as they are."""
DECODE_TAGGED = "rgb24-usual.2"
"""The same where colours are converted to the bit as other tools do."""
SUFFIXES = (*FORMATS, ".npz")
"""What can be read."""
UNREAD = (".3gp", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".ogv", ".vob", ".wmv", ".y4m")
"""Other videos: in a folder they are not passed over, but told as files that cannot be read."""
COPIES = 3
"""Memory that measuring a clip takes, in sizes of the clip: the lite suite takes 2.4 times 120 frames of 720p."""
RAW_TEXT = 2**26
"""Bytes that the rate and the request beside raw frames may take."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video of an evaluation, not decoded yet."""

    path: Path
    name: str
    """Its name in reports: the path inside the folder that was given, else the file name."""
    sha256: str
    """Hash of the file's bytes."""
    request: dict[str, Any]
    """What was asked for, from the file's metadata; empty where nothing is stored."""

    @property
    def identity(self) -> tuple[str, str]:
        """What decides its frames: the bytes, and the format that its name says they have."""
        suffix = self.path.suffix.lower()
        return self.sha256, FORMATS.get(suffix, suffix)

    @property
    def cluster(self) -> str:
        """What it shares with the other samples of its prompt.

        The prompt in its metadata; without one its name less the suffix and a closing ``-NUMBER``, since many tools
        call their samples ``PROMPT-0.mp4``, ``PROMPT-1.mp4``.
        """
        prompt = self.request.get("prompt")
        if prompt is not None:
            return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True)
        return re.sub(r"-\d+$", "", self.name.removesuffix(self.path.suffix))


def find(paths: Iterable[Path]) -> list[Clip]:
    """The videos in files and folders (with their subfolders), sorted by name.

    Raises:
        UsageError: a path does not exist or cannot be read, nothing is found, or two videos have the same name.
    """
    named = [pair for path in paths for pair in _named(path)]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two videos are called {twice[0]!r}; evaluate each folder into a run of its own and compare the runs"
        )
    return [clip_of(path, name) for name, path in sorted(named)]


def clip_of(path: Path, name: str) -> Clip:
    """Read the hash and the request of one file.

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
    """All frames of a video.

    Raises:
        GenkitError: the file is no video, damaged, or holds fewer than two frames.
    """
    return _decoded(path, tagged=False)


def decode_tagged(path: Path) -> Video:
    """As :func:`decode`, with colours converted to the bit as OpenCV, decord and PyAV do: within two steps of exact."""
    return _decoded(path, tagged=True)


def _decoded(path: Path, tagged: bool) -> Video:
    try:
        video = _read_raw(path) if path.suffix.lower() == ".npz" else _read_file(path, tagged)
    except GenkitError:
        raise
    except MemoryError as error:
        raise TooLittleMemory(f"the memory was not enough for the frames of {str(path)!r}") from error
    except Exception as error:  # a damaged archive raises almost anything
        raise GenkitError(f"{str(path)!r} cannot be decoded: {str(error) or type(error).__name__}") from error
    if len(video.frames) < 2:
        raise GenkitError(f"{str(path)!r} holds one frame only; a video has at least two")
    return video


def _read_file(path: Path, tagged: bool) -> Video:
    film = read_film(path, tagged=tagged, copies=COPIES)
    return Video(film.frames, film.fps)


def _read_raw(path: Path) -> Video:
    with zipfile.ZipFile(path) as archive:
        check_fits(f"the raw frames in {str(path)!r}", archive.getinfo("frames.npy").file_size, COPIES)
        fps = float(_small(archive, "fps"))
        return Video(_array(archive, "frames"), fps)


def _small(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    if (size := archive.getinfo(f"{name}.npy").file_size) > RAW_TEXT:
        raise GenkitError(f"{name!r} in {archive.filename!r} has {size:,} bytes; at most {RAW_TEXT:,} are read")
    return _array(archive, name)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array; zipfile never unpacks more bytes than the size that it was checked by."""
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _request(path: Path) -> dict[str, Any]:
    """The stored request; a file without one, or with a damaged one, has none."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                request = json.loads(str(_small(archive, "request")))
                return request if isinstance(request, dict) else {}
        return recipe_of(path, read_header(path)).request
    except Exception:  # a damaged archive raises almost anything
        return {}


def _named(path: Path) -> list[tuple[str, Path]]:
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
    """The files in a folder and its subfolders; one that cannot be looked into is not passed over."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot read the folder {error.filename!r}: {error.strerror}") from error

    found = [Path(place, name) for place, _, names in os.walk(folder, onerror=refuse) for name in names]
    return [file for file in found if file.is_file()]
