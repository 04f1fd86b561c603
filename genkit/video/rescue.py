"""Saving of finished work that cannot be written to its place: a full disk costs a name, never a video."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

VARIABLE = "GENKIT_RESCUE"
"""Environment variable that names the folder to try first."""


def rescue(what: str, *writers: Callable[[Path], Path]) -> str:
    """Let the first of ``writers`` that can write into one of the folders do so; return a sentence that says where."""
    for write in writers:
        for folder in _folders():
            with suppress(Exception):
                return f"{what} is saved as {str(write(folder))!r}"
            with suppress(OSError):
                folder.rmdir()
    return f"there was no place left to save {what}"


def _folders() -> Iterator[Path]:
    """Private folders to try: the requested one, the user's cache, temporary ones on the disk and in memory."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for place in filter(None, (os.environ.get(VARIABLE), os.path.join(cache, "genkit", "rescued"))):
        with suppress(OSError):
            folder = Path(place).absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            yield folder
    for parent in (None, "/dev/shm"):
        with suppress(OSError):
            yield Path(tempfile.mkdtemp(prefix="genkit-rescued-", dir=parent))
