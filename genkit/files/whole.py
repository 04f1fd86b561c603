"""Files that appear whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genkit.errors import UsageError

_OPEN: set[Path] = set()
"""The temporary files that this process is writing now."""
FINISHED: list[Path] = []
"""The files that this command has given their names, by :mod:`genkit.video.targets`."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)
"""What a file system answers that knows no second name for a file."""


class PlaceError(UsageError):
    """Nothing can be written to the place that was named."""


def sidecar_path(path: Path) -> Path:
    """Where the recipe of a video lies beside it: ``clip.mp4`` has ``clip.mp4.json``, a name that is hardly taken."""
    return path.with_name(path.name + ".json")


def sheet_path(path: Path) -> Path:
    """Where the contact sheet of a video lies beside it: ``clip.mp4`` has ``clip.mp4.png``."""
    return path.with_name(path.name + ".png")


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Make sure, before any work is done, that a video can be written to ``path``.

    Folders that are missing are not made yet. An existing file is fine: it will be replaced.

    Raises:
        UsageError: the name does not end in ``.mp4``; as :class:`PlaceError` it is a folder, or its folder cannot be
            made or written to.
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
    """Make and remove a file in the nearest folder that exists; asking for permissions would miss read-only disks."""
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
    """Give one temporary name per target, in the same folder; rename all of them when the block ends well.

    If the block raises, KeyboardInterrupt included, nothing stays behind and old targets are as before. A temporary
    file that the block did not make is left out.
    """
    with parts_in(*(target.parent for target in targets)) as parts:
        yield parts
        for part, target in zip(parts, targets, strict=True):
            if part.exists():
                flush(part)
                os.replace(part, target)


@contextmanager
def parts_in(*folders: Path) -> Iterator[list[Path]]:
    """Give one temporary name in each of ``folders``, which are made; what is left there is removed at the end."""
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
    """Wait until a file is on the disk, where a quota or a server may refuse it at last."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def claim(part: Path, target: Path) -> bool:
    """Give a finished file its name unless somebody has it; True if it is done. Of two processes one gets the name."""
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
    """Remove what is half written, because this process ends in the next moment."""
    for part in list(_OPEN):
        with suppress(OSError):
            part.unlink()


def _part(folder: Path) -> Path:
    return folder / f".genkit-{secrets.token_hex(6)}.part"


def _exists(path: Path) -> bool:
    """Like ``Path.exists``, but a name that can never exist (too long, say) is an error on every Python version."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
