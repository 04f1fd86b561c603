"""The jobs of the page, in a SQLite file: what waits, what runs, what was made.

Pages and the worker are separate processes that meet only here. Every step from one state to the next is one
transaction, so that two tabs, a page and a worker, or a process killed between two lines leave nothing in between.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from genkit.errors import GenkitError, UsageError
from genkit.events import Progress
from genkit.request import Request

Status = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ATTEMPTS = 2
"""How often a job is begun at most: once more after a worker that ended in mid-job."""
MOST_WAITING = 20
"""Jobs that may wait or run at the same time."""
SCHEMA_VERSION = 1
AGAIN = "the worker ended in mid-job, so the job was begun again"
GAVE_UP = (
    f"the worker ended in mid-job {ATTEMPTS} times; nothing was kept. The machine may be short of memory: "
    "try fewer frames, or a smaller model"
)

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'queued',
    request TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    step INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    time_left REAL NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    receipt TEXT NOT NULL DEFAULT ''
)
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as it was when it was read."""

    number: int
    """Order of arrival, from 1."""
    id: str
    """What names the job and its files: 12 hexadecimal digits, drawn by the store."""
    status: Status
    request: Request
    """What was asked for; once the job is done, what would make the same video again (with the seed drawn)."""
    created: float
    """When it was submitted, in seconds since 1970."""
    changed: float
    """When its status changed last."""
    attempts: int
    """How often it was begun."""
    cancel: bool
    """Whether a running job was asked to stop."""
    stage: str
    """``load``, ``encode``, ``denoise``, ``decode`` or ``save``; empty before."""
    step: int
    total: int
    """Solver steps; 0 while they are not known."""
    time_left: float
    """Seconds that the remaining steps will take."""
    note: str
    """What else is to be known, as a sentence; else empty."""
    error: str
    """Why there is no video, as a sentence; else empty."""
    receipt: str
    """The receipt as a text table; empty until the job is done."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to this job."""
        return self.status not in ("queued", "running")


class Store:
    """The jobs of one output folder, which holds the finished videos and a hidden folder for everything else."""

    def __init__(self, folder: Path) -> None:
        """Open the store of ``folder``, or make it.

        Raises:
            UsageError: the folder cannot be used, or its store was written by another version.
        """
        self.folder = folder.absolute()
        self.state = self.folder / ".page"
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            with self._transaction() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, SCHEMA_VERSION):
                    raise UsageError(
                        f"{str(self._file)!r} has schema version {version}, but this installation reads version "
                        f"{SCHEMA_VERSION}; choose another output folder"
                    )
                db.execute(_TABLE)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except (OSError, sqlite3.Error) as error:
            reason = f"cannot keep jobs in {str(self.folder)!r}: {error}; choose another output folder"
            raise UsageError(reason) from error

    @property
    def _file(self) -> Path:
        return self.state / "jobs.sqlite"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection that holds the write lock until the block ends; what the block did stays, or none of it."""
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _read(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self._file, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return db.execute(query, values).fetchall()

    # What a page does

    def submit(self, request: Request) -> Job:
        """Put a job at the end of the queue.

        Raises:
            UsageError: too many jobs wait already.
        """
        text, now, name = request.model_dump_json(exclude_unset=True), time.time(), secrets.token_hex(6)
        with self._transaction() as db:
            waiting = db.execute("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')").fetchone()[0]
            if waiting >= MOST_WAITING:
                raise UsageError(f"{waiting} jobs wait already, which is the most; cancel one, or wait for one to end")
            values = (name, text, now, now)
            db.execute("INSERT INTO jobs (id, request, created, changed) VALUES (?, ?, ?, ?)", values)
        return self.job(name)

    def cancel(self, name: str) -> None:
        """End a waiting job at once, and a running one within its current step; nothing happens to one that is over."""
        with self._transaction() as db:
            _to(db, name, "queued", "cancelled")
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND status = 'running'", (name,))

    def job(self, name: str) -> Job:
        """The job called ``name``.

        Raises:
            UsageError: there is none.
        """
        found = self._read("SELECT * FROM jobs WHERE id = ?", name)
        if not found:
            raise UsageError(f"there is no job {name!r} in {str(self.folder)!r}")
        return _job(found[0])

    def jobs(self, *statuses: Status, limit: int = 100) -> list[Job]:
        """The newest jobs, newest first; only those in one of ``statuses`` where any are given."""
        wanted = statuses or get_args(Status)
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT * FROM jobs WHERE status IN ({marks}) ORDER BY number DESC LIMIT ?"
        return [_job(row) for row in self._read(query, *wanted, limit)]

    def ahead(self, job: Job) -> int:
        """How many jobs will be done before this one."""
        query = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND number < ?"
        return int(self._read(query, job.number)[0][0])

    def video(self, job: Job) -> Path:
        """Where the video of a job lies once it is done; the name says nothing of what was asked for."""
        return self.folder / f"{time.strftime('%Y-%m-%d', time.gmtime(job.created))}-{job.id}.mp4"

    def poster(self, job: Job) -> Path:
        """Where one frame of it lies."""
        return self.video(job).with_suffix(".jpg")

    @property
    def making(self) -> Path:
        """Where everything lies that is not finished; not shown, and cleared away after each job."""
        return self.state / "making"

    def preview(self, job: Job) -> Path:
        """Where the frames of a running job lie, as a WebP, as far as they can be guessed."""
        return self.making / f"{job.id}.webp"

    # What the worker does

    def claim(self) -> Job | None:
        """Take the job that has waited longest; None if none waits."""
        with self._transaction() as db:
            row = db.execute("SELECT id FROM jobs WHERE status = 'queued' ORDER BY number LIMIT 1").fetchone()
            if row is None:
                return None
            _to(db, row["id"], "queued", "running", attempts=1, cancel=0, stage="load", step=0, total=0, time_left=0)
        return self.job(row["id"])

    def progress(self, job: Job, event: Progress) -> bool:
        """Note how far a job is; False if it is to stop."""
        values = (event.stage, event.step, event.total, event.left, job.id)
        with self._transaction() as db:
            db.execute("UPDATE jobs SET stage = ?, step = ?, total = ?, time_left = ? WHERE id = ?", values)
            state = db.execute("SELECT status, cancel FROM jobs WHERE id = ?", (job.id,)).fetchone()
        return state is not None and state["status"] == "running" and not state["cancel"]

    def finish(self, job: Job, request: dict[str, Any], receipt: str) -> None:
        """The video of a running job is in its place."""
        with self._transaction() as db:
            _to(db, job.id, "running", "done", request=json.dumps(request), receipt=receipt, time_left=0)

    def fail(self, job: Job, reason: str) -> None:
        """A running job ended without a video."""
        with self._transaction() as db:
            _to(db, job.id, "running", "failed", error=reason)

    def stopped(self, job: Job) -> None:
        """A running job ended because it was asked to."""
        with self._transaction() as db:
            _to(db, job.id, "running", "cancelled")

    def reclaim(self) -> None:
        """Deal with jobs that run nowhere: begin them again once, then mark them as interrupted.

        Only the one worker may call this, before its first job: then whatever is ``running`` was left so by another.
        """
        with self._transaction() as db:
            left = db.execute("SELECT id, attempts, cancel FROM jobs WHERE status = 'running'").fetchall()
            for row in left:
                if row["cancel"]:
                    _to(db, row["id"], "running", "cancelled")
                elif row["attempts"] < ATTEMPTS:
                    _to(db, row["id"], "running", "queued", note=AGAIN)
                else:
                    _to(db, row["id"], "running", "interrupted", error=GAVE_UP, note="")


def _to(db: sqlite3.Connection, name: str, before: Status, after: Status, attempts: int = 0, **columns: Any) -> None:
    """Change a job from one status to another, if it has the first; ``attempts`` are added to those it had."""
    assignments = "".join(f", {column} = ?" for column in columns)
    db.execute(
        f"UPDATE jobs SET status = ?, changed = ?, attempts = attempts + ?{assignments} WHERE id = ? AND status = ?",
        (after, time.time(), attempts, *columns.values(), name, before),
    )


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    try:
        request = Request.model_validate_json(values.pop("request"))
    except ValueError as error:
        raise GenkitError(f"job {values['id']} in the store is damaged: {error}") from error
    return Job(**values | {"request": request, "cancel": bool(values["cancel"])})
