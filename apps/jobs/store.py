"""The page's jobs, in a SQLite file: waiting, running and finished.

Pages and the worker are separate processes that meet only here. Each change of state is one transaction, so that two
tabs, a page and a worker, or a process killed in between leave the state consistent.
"""

import contextlib
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Any

from genkit.apps.jobs.database import PATIENCE, SCHEMA_VERSION, Database, StoreBroken, StoreError
from genkit.apps.jobs.files import recipe
from genkit.apps.jobs.rows import Job, NewJob, Status, dump_recipe, dump_request, insert, job_of
from genkit.errors import UsageError
from genkit.generation.events import Progress
from genkit.request import Request

__all__ = ["SCHEMA_VERSION", "Job", "Status", "Store", "StoreBroken", "StoreError"]
ATTEMPTS = 2
"""Max starts of a job: one retry after a worker that ended in mid-job."""
MAX_WAITING = 20
"""Max jobs of one account that may wait or run at the same time."""
IN_TURN = """
WITH begun AS (SELECT owner, max(changed) AS last FROM jobs WHERE status != 'queued' AND attempts > 0 GROUP BY owner)
SELECT jobs.*, row_number() OVER (PARTITION BY jobs.owner ORDER BY number) AS turn
FROM jobs LEFT JOIN begun ON begun.owner = jobs.owner WHERE status = 'queued' ORDER BY turn, last, number
"""
"""Waiting jobs in the order in which they will run: one of each account in turn, starting with the account whose last
start is longest ago."""
AGAIN = "the worker ended in mid-job, so the job was started again"
CLOSED = "the page was closed or the machine restarted in mid-job, so the job was started again"
GAVE_UP = (
    f"the worker ended in mid-job {ATTEMPTS} times; nothing was saved. The machine may be short of memory: "
    "try fewer frames, or a smaller model"
)
NOTING = 1.0
"""Seconds to wait for a locked store with updates that are repeated anyway, such as progress."""


class Store(Database):
    """Jobs of one output folder."""

    # Called by a page

    def submit(self, request: Request, owner: str = "", source: Path | None = None) -> Job:
        """Append a job to the queue of its account.

        Args:
            owner: the account it belongs to; empty if no password is required.
            source: the folder that contains the images and videos of the request; None if it has none.

        Raises:
            UsageError: too many jobs of this account are waiting, or an image or video cannot be used.
            GenkitError: it cannot be stored, for example because the disk is full.
        """
        name, now = secrets.token_hex(16), time.time()
        try:
            kept = request if source is None else self.inputs.keep(name, request, source)
            job = NewJob(id=name, owner=owner, created=now, request=dump_request(kept))
            with self._transaction() as db:
                query = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running') AND owner = ?"
                waiting = db.execute(query, (owner,)).fetchone()[0]
                if waiting >= MAX_WAITING:
                    reason = f"{waiting} jobs are waiting, which is the limit; cancel one, or wait for one to end"
                    raise UsageError(reason)
                self.files.record(job)
                insert(db, job, now)
        except BaseException as error:
            self.files.forget(name)
            self.inputs.forget(name)
            if isinstance(error, OSError):
                raise StoreError(self.explain(str(error.strerror))) from error
            raise
        return self.job(name)

    def cancel(self, name: str) -> None:
        """End a waiting job at once, and a running one within its current step; a finished one is unchanged."""
        with self._transaction() as db:
            if _to(db, name, "queued", "cancelled"):
                self.files.forget(name)
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND status = 'running'", (name,))

    def job(self, name: str) -> Job:
        """Return the job called ``name``.

        Raises:
            UsageError: there is none.
        """
        found = self._read("SELECT * FROM jobs WHERE id = ?", name)
        if not found:
            raise UsageError(f"there is no job {name!r} in {str(self.folder)!r}")
        return job_of(found[0])

    def jobs(self, *statuses: Status, limit: int = 100, owner: str | None = None) -> list[Job]:
        """Return the latest jobs, newest first; only those in one of ``statuses`` if any are given.

        Args:
            owner: only jobs of this account; None is everyone's.
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
        """Return the number of jobs that will run before this one."""
        running = [row["id"] for row in self._read("SELECT id FROM jobs WHERE status = 'running'")]
        order = running + [row["id"] for row in self._read(IN_TURN)]
        return order.index(job.id) if job.id in order else 0

    def video(self, job: Job) -> Path:
        """Return the path of a job's finished video; its name reveals nothing of the prompt."""
        return self.files.film(job.id, job.created)

    def poster(self, job: Job) -> Path:
        """Return the path of a job's poster."""
        return self.files.of(self.video(job))[0]

    def preview(self, job: Job) -> Path:
        """Return the path of a running job's preview, a WebP of the frames so far."""
        return self.making / f"{job.id}.webp"

    def again(self, job: Job, owner: str = "") -> Job:
        """Append a job with the request, images and videos of another; errors as in :meth:`submit`."""
        return self.submit(job.request, owner, self.inputs.of(job.id))

    # Called by the worker

    def ready(self, job: Job) -> Request:
        """Return the request of a job with the paths of its images and videos.

        Raises:
            UsageError: one of them is not in the folder of the job.
        """
        return self.inputs.locate(job.id, job.request)

    def prune(self) -> None:
        """Remove the images and videos of jobs that are no longer listed."""
        self.inputs.prune({row["id"] for row in self._read("SELECT id FROM jobs")})

    def claim(self) -> Job | None:
        """Take the next job in turn; None if none waits. Unreadable ones fail and are skipped."""
        with self._transaction() as db:
            for row in db.execute(IN_TURN).fetchall():
                job = job_of(row)
                if job.damaged:
                    _give_up(db, row["number"], job.error)
                elif not self._settle(db, job):
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
        """Record a job's progress; return False if it has to stop. An unwritable store does not stop it."""
        values = (event.stage, event.step, event.total, event.left, job.id)
        try:
            with self._transaction(NOTING) as db:
                db.execute("UPDATE jobs SET stage = ?, step = ?, total = ?, time_left = ? WHERE id = ?", values)
                state = db.execute("SELECT status, cancel FROM jobs WHERE id = ?", (job.id,)).fetchone()
        except StoreError:
            return True
        return state is not None and state["status"] == "running" and not state["cancel"]

    def remark(self, job: Job, note: str) -> None:
        """Set the note of a running job, if the store can be written."""
        with contextlib.suppress(StoreError), self._transaction(NOTING) as db:
            db.execute("UPDATE jobs SET note = ? WHERE id = ? AND status = 'running'", (note, job.id))

    def finish(self, job: Job, request: dict[str, Any], receipt: str) -> None:
        """Mark a running job as done; its video is in place."""
        with self._transaction() as db:
            about: dict[str, Any] = {"request": dump_recipe(request), "receipt": receipt, "time_left": 0}
            ended = _to(db, job.id, "running", "done", **about)
        if ended:
            self.files.mark_done(job.id)

    def fail(self, job: Job, reason: str) -> None:
        """Mark a running job as failed, without a video."""
        with self._transaction() as db:
            ended = _to(db, job.id, "running", "failed", error=reason, note="")
        if ended:
            self.files.forget(job.id)

    def mark_cancelled(self, job: Job) -> None:
        """Mark a running job as cancelled."""
        with self._transaction() as db:
            ended = _to(db, job.id, "running", "cancelled", note="")
        if ended:
            self.files.forget(job.id)

    def reclaim(self, crashed: bool = True, patience: float = PATIENCE) -> None:
        """Settle jobs left running: done if the video exists, else queued again, once after a crash.

        Must only be called by the single worker, before its first job: any ``running`` job was left by another.

        Args:
            crashed: True if the worker ended by itself; else the page was closed or the machine restarted, and the
                attempt does not count.
        """
        with self._transaction(patience) as db:
            for row in db.execute("SELECT * FROM jobs WHERE status = 'running'").fetchall():
                job = job_of(row)
                if job.damaged:
                    _give_up(db, row["number"], job.error)
                elif not self._settle(db, job):
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

    def _settle(self, db: sqlite3.Connection, job: Job) -> bool:
        """True if the video of a job left unfinished exists; the job is then marked as done."""
        film = self.video(job)
        try:
            if not self.files.adopt(film):
                return False
        except OSError:
            return False
        request, receipt = recipe(film) or (dump_request(job.request), "")
        self.files.mark_done(job.id)
        return _to(db, job.id, job.status, "done", request=request, receipt=receipt, time_left=0, note="", error="")


def _give_up(db: sqlite3.Connection, number: int, error: str) -> None:
    """Mark a job whose row cannot be read as failed."""
    db.execute("UPDATE jobs SET status = 'failed', error = ? WHERE number = ?", (error, number))


def _to(db: sqlite3.Connection, name: str, before: Status, after: Status, attempts: int = 0, **columns: Any) -> bool:
    """Change a job's status if it is ``before``; ``attempts`` are added to its count."""
    assignments = "".join(f", {column} = ?" for column in columns)
    changed = db.execute(
        f"UPDATE jobs SET status = ?, changed = ?, attempts = attempts + ?{assignments} WHERE id = ? AND status = ?",
        (after, time.time(), attempts, *columns.values(), name, before),
    )
    return changed.rowcount > 0
