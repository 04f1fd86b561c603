"""SQLite file of the jobs: opened, repaired if damaged, with failures explained in words."""

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
from dataclasses import replace
from pathlib import Path
from typing import Any

from genkit.apps.jobs.files import Files
from genkit.apps.jobs.inputs import Inputs
from genkit.apps.jobs.private import hold_lock, private_file
from genkit.apps.jobs.rows import COLUMNS, OWNER, TABLE, insert
from genkit.errors import GenkitError, UsageError

SCHEMA_VERSION = 2
REBUILT = "its entry in the store was lost and has been rebuilt from its files"
MOVED = (
    "genkit: the store in {!r} was damaged. It is kept as jobs.sqlite.*.broken in .page there, and is being rebuilt "
    "from the videos and the stored requests; jobs that failed or were cancelled are no longer listed"
)
PATIENCE = 30.0
"""Seconds to wait while another program locks the store."""
FULL = 2**15
"""Free bytes below which a disk counts as full."""
OPENING = 120.0
"""Seconds to wait for another process that is opening the store, and may be rebuilding it."""


class StoreError(GenkitError):
    """The store cannot be read or written now, but perhaps later."""


class StoreBroken(StoreError):
    """The store is damaged: opening it again moves it aside and rebuilds it."""


class Database:
    """Database of one output folder, which contains the finished videos and a hidden folder for everything else."""

    def __init__(self, folder: Path) -> None:
        """Open or create the store of ``folder``; a damaged one is moved aside and rebuilt from the files.

        Raises:
            UsageError: the folder cannot be used, or its store was written by a later version.
        """
        self.folder = folder.absolute()
        self.files = Files(self.folder)
        self.state, self.making = self.files.state, self.files.making
        self.inputs = Inputs(self.state)
        try:
            self.files.prepare()
            with hold_lock(self.state / "opening.lock", wait=OPENING):
                self._open()
        except (OSError, sqlite3.Error, StoreError) as error:
            reason = f"cannot keep jobs in {str(self.folder)!r}: {error}; choose another output folder"
            raise UsageError(reason) from error

    @property
    def _file(self) -> Path:
        return self.state / "jobs.sqlite"

    def _open(self) -> None:
        if self._file.exists() and not self._is_intact():
            self._move_aside()
        missing = not self._file.exists()
        if missing:
            os.close(private_file(self._file))
        with closing(self._connect(PATIENCE)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as db:
            db.execute(TABLE)
            if "owner" not in _columns(db):
                db.execute(OWNER)
            if missing:
                self._rebuild(db)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _is_intact(self) -> bool:
        """True if the file is an intact store of this version or an earlier one.

        Raises:
            UsageError: it was written by a later version.
        """
        try:
            with closing(self._connect(PATIENCE)) as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version > SCHEMA_VERSION:
                    raise UsageError(
                        f"{str(self._file)!r} has schema version {version}, but this installation reads version "
                        f"{SCHEMA_VERSION}; update genkit, or choose another output folder"
                    )
                whole = db.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                return whole and (not (there := _columns(db)) or there >= COLUMNS.keys() - {"owner"})
        except sqlite3.OperationalError:
            raise  # it cannot be opened at the moment
        except sqlite3.DatabaseError:
            return False

    def _move_aside(self) -> None:
        moment = time.strftime("%Y%m%d-%H%M%S")
        for path in self.state.glob("jobs.sqlite*"):
            if path.suffix != ".broken":
                os.replace(path, path.with_name(f"{path.name}.{moment}-{secrets.token_hex(2)}.broken"))
        print(MOVED.format(str(self.folder)), file=sys.stderr, flush=True)

    def _rebuild(self, db: sqlite3.Connection) -> None:
        """Insert the jobs recorded in files: those with a video are done, the others wait."""
        for job in self.files.records():
            insert(db, replace(job, note=REBUILT), time.time())

    def _connect(self, patience: float) -> sqlite3.Connection:
        """Connection to the existing file; none is created, since the folder may have been moved."""
        address = f"{self._file.as_uri()}?mode=rw"
        db = sqlite3.connect(address, uri=True, timeout=patience, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    @contextmanager
    def _transaction(self, patience: float = PATIENCE) -> Iterator[sqlite3.Connection]:
        """Connection with the write lock; the block is committed as a whole or not at all."""
        with self._explain_errors(), closing(self._connect(patience)) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself
                    db.execute("ROLLBACK")
                raise

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._explain_errors(), closing(self._connect(PATIENCE)) as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into :class:`StoreError`, with the reason in words."""
        try:
            yield
        except sqlite3.Error as error:
            lasting = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            raise (StoreBroken if lasting else StoreError)(self.explain(str(error))) from error

    def explain(self, error: str) -> str:
        """Describe what SQLite or the system calls ``error``, in a sentence."""
        place = repr(str(self.folder))
        if "full" in error or error in map(os.strerror, (errno.ENOSPC, errno.EDQUOT)) or self._is_full():
            return f"the disk of {place} is full; free some space there"
        if "locked" in error or "busy" in error:
            return f"the store in {place} is locked by another program, perhaps a backup; try again when it has ended"
        if "unable to open" in error or "disk I/O" in error or error == os.strerror(errno.ENOENT):
            return f"the store in {place} cannot be reached; was the folder moved away? Put it back"
        return f"the store in {place} cannot be used: {error}"

    def _is_full(self) -> bool:
        """True if files can no longer be created there; SQLite then reports that it cannot open its own."""
        try:
            return shutil.disk_usage(self.state).free < FULL
        except OSError:
            return False


def _columns(db: sqlite3.Connection) -> set[str]:
    return {row["name"] for row in db.execute("PRAGMA table_info(jobs)")}
