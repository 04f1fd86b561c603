"""Where finished work is kept that cannot be written to its place: a full disk costs a name, never a video."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genkit.video.raw import save_raw
from genkit.video.targets import Target

if TYPE_CHECKING:
    from genkit.video.video import Video

VARIABLE = "GENKIT_RESCUE"
"""The variable of the environment that names a folder to be tried first."""


def kept_video(video: "Video", name: str, metadata: bool = True) -> str:
    """Keep a video that cannot be written to its place, and return a sentence that says where.

    It is written as H.264, or as raw frames (``.npz``) where no encoder works.
    """

    def as_film(folder: Path) -> Path:
        return video.save(Target(folder / f"{name}.mp4", False), metadata=metadata, rescue=False)

    def as_frames(folder: Path) -> Path:
        bare = video if metadata else replace(video, request={}, receipt=None)
        return save_raw(bare, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) / f"{name}.npz")

    return kept("the finished video", as_film, as_frames)


def kept(what: str, *writers: Callable[[Path], Path]) -> str:
    """Let the first of ``writers`` that can write into one of the folders do so; returns a sentence that says where."""
    for write in writers:
        for folder in _folders():
            with suppress(Exception):
                return f"{what} is kept as {str(write(folder))!r}"
            with suppress(OSError):
                folder.rmdir()
    return f"no place was left to keep {what}"


def _folders() -> Iterator[Path]:
    """Folders for this person alone: the one asked for, the user's cache, temporary ones on the disk and in memory."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for place in filter(None, (os.environ.get(VARIABLE), os.path.join(cache, "genkit", "rescued"))):
        with suppress(OSError):
            folder = Path(place).absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield folder
    for parent in (None, "/dev/shm"):
        with suppress(OSError):
            yield Path(tempfile.mkdtemp(prefix="genkit-rescued-", dir=parent))
