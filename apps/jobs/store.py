"""The jobs of the page, in a SQLite file: what waits, what runs, what was made.

Pages and the worker are separate processes that meet only here. Every step from one state to the next is one
transaction, so that two tabs, a page and a worker, or a process killed between two lines leave nothing in between.
"""

import contextlib
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

from genkit.apps.jobs.database import PATIENCE, SCHEMA_VERSION, Database, StoreBroken, StoreError
from genkit.apps.jobs.files import Kept, recipe
from genkit.apps.jobs.rows import Job, Status, job_of, stored, stored_recipe
from genkit.errors import UsageError
from genkit.generation.events import Progress
from genkit.request import Request

__all__ = ["SCHEMA_VERSION", "Job", "Status", "Store", "StoreBroken", "StoreError"]
ATTEMPTS = 2
"""How often a job is begun at most: once more after a worker that ended in mid-job."""
MOST_WAITING = 20
"""Jobs of one account that may wait or run at the same time."""
IN_TURN = """
WITH begun AS (SELECT owner, max(changed) AS last FROM jobs WHERE status != 'queued' AND attempts > 0 GROUP BY owner)
SELECT jobs.*, row_number() OVER (PARTITION BY jobs.owner ORDER BY number) AS turn
FROM jobs LEFT JOIN begun ON begun.owner = jobs.owner WHERE status = 'queued' ORDER BY turn, last, number
"""
"""The jobs that wait, in the order in which they will be done: one of each account in turn, and first of the account
of which none was begun for longest."""
AGAIN = "the worker ended in mid-job, so the job was begun again"
CLOSED = "the page was closed or the machine restarted in mid-job, so the job was begun again"
GAVE_UP = (
    f"the worker ended in mid-job {ATTEMPTS} times; nothing was kept. The machine may be short of memory: "
    "try fewer frames, or a smaller model"
)
NOTING = 1.0
"""Seconds to wait for a store that another program holds with what comes again, such as progress."""


class Store(Database):
    """The jobs of one output folder."""

    # What a page does

    def submit(self, request: Request, owner: str = "") -> Job:
        """Put a job at the end of the queue of its account.

        Args:
            owner: the account that it belongs to; empty where no password is asked for.

        Raises:
            UsageError: too many jobs of this account wait already.
            GenkitError: it cannot be written down, because the disk is full for example.
        """
        text, now, name = stored(request), time.time(), secrets.token_hex(16)
        try:
            with self._transaction() as db:
                query = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND owner = ?"
                waiting = db.execute(query, (owner,)).fetchone()[0]
                if waiting >= MOST_WAITING:
                    reason = f"{waiting} jobs wait already, which is the most; cancel one, or wait for one to end"
                    raise UsageError(reason)
                self.files.ask(Kept(id=name, owner=owner, created=now, request=text))
                values = (name, text, now, now, owner)
                db.execute("INSERT INTO jobs (id, request, created, changed, owner) VALUES (?, ?, ?, ?, ?)", values)
        except BaseException as error:
            self.files.forget(name)
            if isinstance(error, OSError):
                raise StoreError(self.why(str(error.strerror))) from error
            raise
        return self.job(name)

    def cancel(self, name: str) -> None:
        """End a waiting job at once, and a running one within its current step; nothing happens to one that is over."""
        with self._transaction() as db:
            if _to(db, name, "queued", "cancelled"):
                self.files.forget(name)
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND status = 'running'", (name,))

    def job(self, name: str) -> Job:
        """The job called ``name``.

        Raises:
            UsageError: there is none.
        """
        found = self._read("SELECT * FROM jobs WHERE id = ?", name)
        if not found:
            raise UsageError(f"there is no job {name!r} in {str(self.folder)!r}")
        return job_of(found[0])

    def jobs(self, *statuses: Status, limit: int = 100, owner: str | None = None) -> list[Job]:
        """The newest jobs, newest first; only those in one of ``statuses`` where any are given.

        Args:
            owner: only those of this account; None is everyone's.
        """
        chosen, values = [], [*statuses]
        if statuses:
            chosen.append(f"status IN ({', '.join('?' * len(statuses))})")
        if owner is not None:
            chosen.append("owner = ?")
            values.append(owner)  # type: ignore[arg-type]
        where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
        query = f"SELECT * FROM jobs {where} ORDER BY number DESC LIMIT ?"
        return [job_of(row) for row in self._read(query, *values, limit)]

    def ahead(self, job: Job) -> int:
        """How many jobs will be done before this one."""
        running = [row["id"] for row in self._read("SELECT id FROM jobs WHERE status = 'running'")]
        order = running + [row["id"] for row in self._read(IN_TURN)]
        return order.index(job.id) if job.id in order else 0

    def video(self, job: Job) -> Path:
        """Where the video of a job lies once it is done; the name says nothing of what was asked for."""
        return self.files.film(job.id, job.created)

    def poster(self, job: Job) -> Path:
        """Where one frame of it lies."""
        return self.files.of(self.video(job))[0]

    def preview(self, job: Job) -> Path:
        """Where the frames of a running job lie, as a WebP, as far as they can be guessed."""
        return self.making / f"{job.id}.webp"

    # What the worker does

    def claim(self) -> Job | None:
        """Take the job whose turn it is; None if none waits. One that cannot be read fails, and is passed."""
        with self._transaction() as db:
            for row in db.execute(IN_TURN).fetchall():
                job = job_of(row)
                if job.damaged:
                    _give_up(db, row["number"], job.error)
                elif not self._settled(db, job):
                    begun: dict[str, Any] = {
                        "attempts": 1,
                        "cancel": 0,
                        "stage": "load",
                        "step": 0,
                        "total": 0,
                        "time_left": 0,
                    }
                    _to(db, job.id, "queued", "running", **begun)
                    return job_of(db.execute("SELECT * FROM jobs WHERE id = ?", (job.id,)).fetchone())
        return None

    def progress(self, job: Job, event: Progress) -> bool:
        """Note how far a job is; False if it is to stop. A store that cannot be written now stops nothing."""
        values = (event.stage, event.step, event.total, event.left, job.id)
        try:
            with self._transaction(NOTING) as db:
                db.execute("UPDATE jobs SET stage = ?, step = ?, total = ?, time_left = ? WHERE id = ?", values)
                state = db.execute("SELECT status, cancel FROM jobs WHERE id = ?", (job.id,)).fetchone()
        except StoreError:
            return True
        return state is not None and state["status"] == "running" and not state["cancel"]

    def remark(self, job: Job, note: str) -> None:
        """Say something of a running job, where the store can be written."""
        with contextlib.suppress(StoreError), self._transaction(NOTING) as db:
            db.execute("UPDATE jobs SET note = ? WHERE id = ? AND status = 'running'", (note, job.id))

    def finish(self, job: Job, request: dict[str, Any], receipt: str) -> None:
        """The video of a running job is in its place."""
        with self._transaction() as db:
            about: dict[str, Any] = {"request": stored_recipe(request), "receipt": receipt, "time_left": 0}
            ended = _to(db, job.id, "running", "done", **about)
        if ended:
            self.files.made(job.id)

    def fail(self, job: Job, reason: str) -> None:
        """A running job ended without a video."""
        with self._transaction() as db:
            ended = _to(db, job.id, "running", "failed", error=reason, note="")
        if ended:
            self.files.forget(job.id)

    def stopped(self, job: Job) -> None:
        """A running job ended because it was asked to."""
        with self._transaction() as db:
            ended = _to(db, job.id, "running", "cancelled", note="")
        if ended:
            self.files.forget(job.id)

    def reclaim(self, crashed: bool = True, patience: float = PATIENCE) -> None:
        """Deal with jobs that run nowhere: done if the video is there, else begun again, once after a crash.

        Only the one worker may call this, before its first job: then whatever is ``running`` was left so by another.

        Args:
            crashed: whether the worker ended by itself; else it was closed or the machine was, and the attempt does not
                count.
        """
        with self._transaction(patience) as db:
            for row in db.execute("SELECT * FROM jobs WHERE status = 'running'").fetchall():
                job = job_of(row)
                if job.damaged:
                    _give_up(db, row["number"], job.error)
                elif not self._settled(db, job):
                    self._put_back(db, job, crashed)

    def _put_back(self, db: sqlite3.Connection, job: Job, crashed: bool) -> None:
        self.files.clear(self.video(job))
        if job.cancel:
            _to(db, job.id, "running", "cancelled")
            self.files.forget(job.id)
        elif not crashed:
            _to(db, job.id, "running", "queued", attempts=-1, note=CLOSED)
        elif job.attempts < ATTEMPTS:
            _to(db, job.id, "running", "queued", note=AGAIN)
        else:
            _to(db, job.id, "running", "interrupted", error=GAVE_UP, note="")
            self.files.forget(job.id)

    def _settled(self, db: sqlite3.Connection, job: Job) -> bool:
        """Whether the video of a job that ends nowhere is finished: then the job is done."""
        film = self.video(job)
        try:
            if not self.files.adopt(film):
                return False
        except OSError:
            return False
        request, receipt = recipe(film) or (stored(job.request), "")
        self.files.made(job.id)
        return _to(db, job.id, job.status, "done", request=request, receipt=receipt, time_left=0, note="", error="")


def _give_up(db: sqlite3.Connection, number: int, error: str) -> None:
    """End a job whose row cannot be read."""
    db.execute("UPDATE jobs SET status = 'failed', error = ? WHERE number = ?", (error, number))


def _to(db: sqlite3.Connection, name: str, before: Status, after: Status, attempts: int = 0, **columns: Any) -> bool:
    """Change a job from one status to another, if it has the first; ``attempts`` are added to those it had."""
    assignments = "".join(f", {column} = ?" for column in columns)
    changed = db.execute(
        f"UPDATE jobs SET status = ?, changed = ?, attempts = attempts + ?{assignments} WHERE id = ? AND status = ?",
        (after, time.time(), attempts, *columns.values(), name, before),
    )
    return changed.rowcount > 0
