"""Files and folders readable only by the user who runs the page, and locks that end with their process."""

import contextlib
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
PAUSE = 0.2
"""Seconds between two attempts to take a lock."""
TEMPORARY = "genkit-page-"
"""Prefix of temporary folders; the process ID follows."""


def private_folder(path: Path) -> None:
    """Create a private folder, or restrict an existing one.

    Raises:
        OSError: it cannot be created, or it is a link, which could lead anywhere.
    """
    path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    if path.is_symlink():
        raise OSError(f"{path.name!r} in it is a link to another folder; remove it")
    narrow(path)


def private_file(path: Path, flags: int = 0) -> int:
    """Open a private file for writing, never through a link; return its descriptor.

    Raises:
        OSError: it cannot be opened.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | flags, FILE_MODE)
    narrow(path)
    return handle


def narrow(path: Path) -> None:
    """Remove other users' permissions, if the file system has permissions and the file is ours."""
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
            path.chmod(stat.S_IMODE(mode) & 0o700)


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk.

    Raises:
        OSError: it cannot be written there.
    """
    if path.is_dir() and sys.platform == "win32":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def hold_lock(path: Path, wait: float | None = None) -> Iterator[bool]:
    """Hold a lock that the system releases when this process ends in any way.

    Args:
        wait: seconds to wait for it; None waits for ever.

    Yields:
        True if it is held.

    Raises:
        sqlite3.Error: the lock file cannot be created.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        held = False
        while not held:
            try:
                lock = stack.enter_context(contextlib.closing(_connect(path)))
                lock.execute("BEGIN EXCLUSIVE")
                held = True
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and wait is not None:
                    raise
                if wait is not None and time.monotonic() - begun >= wait:
                    break
                stack.close()
                time.sleep(PAUSE)
            except sqlite3.DatabaseError:  # not a lock, but another file of that name
                stack.close()
                path.unlink(missing_ok=True)
        yield held


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists() and path.parent.is_dir():
        with contextlib.suppress(OSError):
            os.close(private_file(path))
    return sqlite3.connect(path, timeout=0, isolation_level=None)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create an empty private folder and remove it at the end; first remove those that killed processes left."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{os.getpid()}-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def _sweep(where: Path) -> None:
    """Remove the temporary folders of processes that have ended."""
    for left in where.glob(f"{TEMPORARY}*-*"):
        number = left.name[len(TEMPORARY) :].partition("-")[0]
        with contextlib.suppress(OSError):
            ours = not hasattr(os, "getuid") or left.lstat().st_uid == os.getuid()
            if number.isdigit() and ours and not left.is_symlink() and not _runs(int(number)):
                shutil.rmtree(left, ignore_errors=True)


def _runs(number: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end the process there
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
