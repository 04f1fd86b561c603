"""The SQLite file in which jobs are kept: opened, healed where it is broken, and told of in words where it fails."""

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from genkit.apps.jobs.files import Files
from genkit.apps.jobs.private import locked, private_file
from genkit.apps.jobs.rows import COLUMNS, OWNER, TABLE
from genkit.errors import GenkitError, UsageError

SCHEMA_VERSION = 2
REBUILT = "its entry in the store was lost, and was made again from its files"
MOVED = (
    "genkit: the store in {!r} was broken. It is kept as jobs.sqlite.*.broken in .page there, and is made again from "
    "the videos and from what was asked for; jobs that failed or were cancelled are not listed any more"
)
PATIENCE = 30.0
"""Seconds to wait for a store that another program holds."""
FULL = 2**15
"""Bytes on a disk that are as good as none."""
OPENING = 120.0
"""Seconds to wait for another process that opens the store too, and may be rebuilding it."""


class StoreError(GenkitError):
    """The store cannot be read or written now; it may be possible later."""


class StoreBroken(StoreError):
    """The store has to be opened anew, which moves what is broken aside."""


class Database:
    """The file of one output folder, which holds the finished videos and a hidden folder for everything else."""

    def __init__(self, folder: Path) -> None:
        """Open the store of ``folder``, or make it; one that is broken is moved aside and rebuilt from the files.

        Raises:
            UsageError: the folder cannot be used, or its store was written by a later version.
        """
        self.folder = folder.absolute()
        self.files = Files(self.folder)
        self.state, self.making = self.files.state, self.files.making
        try:
            self.files.prepare()
            with locked(self.state / "opening.lock", wait=OPENING):
                self._open()
        except (OSError, sqlite3.Error, StoreError) as error:
            reason = f"cannot keep jobs in {str(self.folder)!r}: {error}; choose another output folder"
            raise UsageError(reason) from error

    @property
    def _file(self) -> Path:
        return self.state / "jobs.sqlite"

    def _open(self) -> None:
        if self._file.exists() and not self._sound():
            self._move_aside()
        missing = not self._file.exists()
        if missing:
            os.close(private_file(self._file))
        with closing(self._connected(PATIENCE)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as db:
            db.execute(TABLE)
            if "owner" not in _columns(db):
                db.execute(OWNER)
            if missing:
                self._rebuild(db)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _sound(self) -> bool:
        """Whether the file is a store of this version or an earlier one.

        Raises:
            UsageError: of a later one.
        """
        try:
            with closing(self._connected(PATIENCE)) as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version > SCHEMA_VERSION:
                    raise UsageError(
                        f"{str(self._file)!r} has schema version {version}, but this installation reads version "
                        f"{SCHEMA_VERSION}; update genkit, or choose another output folder"
                    )
                whole = db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                return whole and (not (there := _columns(db)) or there >= COLUMNS.keys() - {"owner"})
        except sqlite3.OperationalError:
            raise  # it cannot be opened now
        except sqlite3.DatabaseError:
            return False

    def _move_aside(self) -> None:
        moment = time.strftime("%Y%m%d-%H%M%S")
        for path in self.state.glob("jobs.sqlite*"):
            if path.suffix != ".broken":
                os.replace(path, path.with_name(f"{path.name}.{moment}-{secrets.token_hex(2)}.broken"))
        print(MOVED.format(str(self.folder)), file=sys.stderr, flush=True)

    def _rebuild(self, db: sqlite3.Connection) -> None:
        """Enter what the files tell of: videos are done, and what has none waits."""
        for kept in self.files.remembered():
            db.execute(
                "INSERT INTO jobs (id, status, request, created, changed, receipt, note, owner) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (kept.id, "done" if kept.done else "queued", kept.request, kept.created, time.time(), kept.receipt,
                 REBUILT, kept.owner),
            )  # fmt: skip

    def _connected(self, patience: float) -> sqlite3.Connection:
        """A connection to the file, which must be there: none is made in a folder that was moved away."""
        address = f"{self._file.as_uri()}?mode=rw"
        db = sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    @contextmanager
    def _transaction(self, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
        """A connection that holds the write lock until the block ends; what the block did stays, or none of it."""
        with self._told(), closing(self._connected(patience)) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself
                    db.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._told(), closing(self._connected(PATIENCE)) as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in words why the store cannot be used."""
        try:
            yield
        except sqlite3.Error as error:
            lasting = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            raise (StoreBroken if lasting else StoreError)(self.why(str(error))) from error

    def why(self, error: str) -> str:
        """A sentence for what SQLite or the system calls ``error``."""
        place = repr(str(self.folder))
        if "full" in error or error in map(os.strerror, (errno.ENOSPC, errno.EDQUOT)) or self._is_full():
            return f"the disk of {place} is full; free some space there"
        if "locked" in error or "busy" in error:
            return f"the store in {place} is held by another program, a backup perhaps; try again when it has ended"
        if "unable to open" in error or "disk I/O" in error or error == os.strerror(errno.ENOENT):
            return f"the store in {place} cannot be reached; was the folder moved away? Put it back"
        return f"the store in {place} cannot be used: {error}"

    def _is_full(self) -> bool:
        """Whether no file can be made there any more; SQLite then says that it cannot open its own."""
        try:
            return shutil.disk_usage(self.state).free < FULL
        except OSError:
            return False


def _columns(db: sqlite3.Connection) -> set[str]:
    return {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
