"""Names of finished videos: a name is claimed atomically by a complete file, not looked up first.

A file beside a video is replaced only if genkit made it, judged by its content and never by its name.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from genkit.files.whole import FINISHED, claim, flush, parts_in, sheet_path, sidecar_path
from genkit.video.ours import is_picture, is_recipe

Identity = tuple[int, int, int, int]


@dataclass(frozen=True)
class Target:
    """Destination of a video."""

    path: Path
    replaces: Identity | bool | None
    """What may be replaced: one particular file that existed before, any file (True), nothing (None), or nothing while
    the names of recipe and sheet have to be free as well (False)."""

    @classmethod
    def as_it_is(cls, path: Path) -> "Target":
        """Return a target that replaces the file that exists now, but none that appears later."""
        return cls(path, _identity(path))

    @property
    def free(self) -> bool:
        """True if the path itself can be written now."""
        found = _identity(self.path)
        if self.replaces is False:
            return not any(map(os.path.lexists, (self.path, sidecar_path(self.path), sheet_path(self.path))))
        return found is None or self.replaces is True or found == self.replaces


def settle(target: Target, film: Path, recipe: Path, sheet: Path) -> Path:
    """Give a finished video and its companion files their names; return that of the video.

    If its name is taken it becomes ``clip-2.mp4``, ``clip-3.mp4``...; if that of the recipe or the sheet is taken by a
    file that genkit did not make, that one becomes ``clip.mp4-2.json`` or ``clip.mp4-2.png``.
    """
    for part in filter(Path.exists, (film, recipe, sheet)):
        flush(part)
    with _lock_folder(target.path):
        path = _place(film, target)
        _place_beside(recipe, sidecar_path(path), is_recipe)
        _place_beside(sheet, sheet_path(path), is_picture)
    return path


def write_whole(target: Target, write: Callable[[Path], object]) -> Path:
    """Let ``write`` create a file and name it as ``target``, or ``name-2.json`` and so on if that is taken.

    Returns:
        The path written.
    """
    with parts_in(target.path.parent) as (part,):
        write(part)
        flush(part)
        with _lock_folder(target.path):
            return _place(part, target)


def _place(part: Path, target: Target) -> Path:
    path = target.path
    if target.free and target.replaces and _identity(path):
        os.replace(part, path)
    elif not (target.free and claim(part, path)):
        fresh = (Target(name, False) for name in _numbered_names(path))
        path = next(other.path for other in fresh if other.free and claim(part, other.path))
    FINISHED.append(path)
    return path


def _place_beside(part: Path, path: Path, ours: Callable[[Path], bool]) -> None:
    if not part.exists():
        return
    if not os.path.lexists(path) or (not path.is_symlink() and ours(path)):
        os.replace(part, path)
    else:
        next(name for name in _numbered_names(path) if claim(part, name))


def _numbered_names(path: Path) -> Iterator[Path]:
    return (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))


def _identity(path: Path) -> Identity | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def _lock_folder(path: Path) -> Iterator[None]:
    """Keep other runs of genkit from naming files in the same folder, where folders can be locked."""
    with ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl

            with suppress(OSError):
                handle = os.open(path.parent, os.O_RDONLY)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
