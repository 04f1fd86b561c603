"""Files that are written as a whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genkit.errors import UsageError

_OPEN: set[Path] = set()
"""Temporary files that this process is writing now."""
FINISHED: list[Path] = []
"""Files that this command has published, by :mod:`genkit.video.targets`."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)
"""Errors of file systems without hard links."""


class PlaceError(UsageError):
    """The named place cannot be written."""


def sidecar_path(path: Path) -> Path:
    """Return the path of a video's recipe: ``clip.mp4.json`` for ``clip.mp4``, a name that is rarely taken."""
    return path.with_name(path.name + ".json")


def sheet_path(path: Path) -> Path:
    """Return the path of a video's contact sheet: ``clip.mp4.png`` for ``clip.mp4``."""
    return path.with_name(path.name + ".png")


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Check, before any work is done, that a video can be written to ``path``.

    Missing folders are not created yet. An existing file is accepted: it will be replaced.

    Raises:
        UsageError: the name does not end in ``.mp4``; as :class:`PlaceError`, it is a folder, or its folder cannot be
            created or written to.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"cannot write {str(path)!r}: the name of a video must end in .mp4")
    try:
        _try(path)
    except OSError as error:
        raise PlaceError(f"cannot write {str(path)!r}: {error.strerror}; choose another place") from error
    return path


def _try(path: Path) -> None:
    """Create and remove a file in the nearest existing folder; checking permissions would miss read-only disks."""
    _exists(sidecar_path(path))
    folder = next(parent for parent in path.absolute().parents if _exists(parent))
    if path.is_dir() or not folder.is_dir():
        wrong, what = (path, "a folder") if path.is_dir() else (folder, "not a folder")
        raise PlaceError(f"cannot write {str(path)!r}: {str(wrong)!r} is {what}")
    probe = _part(folder)
    try:
        probe.touch(exist_ok=False)
    finally:
        probe.unlink(missing_ok=True)


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Yield one temporary path per target, in the same folder; rename all of them when the block succeeds.

    If the block raises, KeyboardInterrupt included, no file is left behind and old targets are unchanged. Temporary
    files that the block did not create are skipped.
    """
    with parts_in(*(target.parent for target in targets)) as parts:
        yield parts
        for part, target in zip(parts, targets, strict=True):
            if part.exists():
                flush(part)
                os.replace(part, target)


@contextmanager
def parts_in(*folders: Path) -> Iterator[list[Path]]:
    """Yield one temporary path in each of ``folders``, which are created; remaining files are removed at the end."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    parts = [_part(folder) for folder in folders]
    _OPEN.update(parts)
    try:
        yield parts
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
        _OPEN.difference_update(parts)


def flush(path: Path) -> None:
    """Wait until a file is on the disk; a quota or a server may refuse it only then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def claim(part: Path, target: Path) -> bool:
    """Give a finished file its name unless it is taken; return True on success. Of two processes only one succeeds."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:
            target.open("xb").close()
        except FileExistsError:
            return False
        os.replace(part, target)
    part.unlink(missing_ok=True)
    return True


def discard_parts() -> None:
    """Remove partial files, because this process is about to exit."""
    for part in list(_OPEN):
        with suppress(OSError):
            part.unlink()


def _part(folder: Path) -> Path:
    return folder / f".genkit-{secrets.token_hex(6)}.part"


def _exists(path: Path) -> bool:
    """Like ``Path.exists``, but an impossible name (too long, for example) is an error on every Python version."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
