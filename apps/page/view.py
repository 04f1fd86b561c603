"""What a tab of the page shows of the job store, and the actions of its buttons."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from genkit.apps.jobs.files import is_file
from genkit.apps.jobs.store import Job, Store, StoreError
from genkit.apps.page import html
from genkit.apps.page.files import may_see
from genkit.apps.page.inputs import uploads
from genkit.errors import GenkitError, UsageError

MAX_SHOWN = 60
"""Max videos in the gallery."""
PARTS = ("status", "preview", "cancel", "rerun", "load", "player", "receipt", "gallery")
"""Parts of the page that a poll of the store can change."""
MIN_FREE = 2**22
"""Free bytes below which a disk counts as full."""


_reading = threading.BoundedSemaphore(3)


class View:
    """View of a store for one tab.

    ``who`` is always the account that asks; None if no password is required, and everyone owns everything.
    """

    def __init__(self, store: Store, worker_lives: Callable[[], bool]) -> None:
        self.store, self.worker_lives = store, worker_lives

    def newest(self, who: str | None = None) -> str:
        """Return the job that a new tab watches: the running one, else the newest."""
        found = self.store.jobs("running", limit=1, owner=who) or self.store.jobs(limit=1, owner=who)
        return found[0].id if found else ""

    def job(self, name: str, who: str | None = None) -> Job:
        """Return a job that this person may see.

        Raises:
            UsageError: there is none, or it belongs to someone else.
        """
        if not name:
            raise UsageError(html.NOTHING)
        try:
            job = self.store.job(name)
        except UsageError:
            raise UsageError(html.GONE) from None
        if not may_see(job, who):
            raise UsageError(html.GONE)
        return job

    def look(self, name: str, seen: dict[str, Any], who: str | None = None) -> list[Any]:
        """Return the ``PARTS`` that have changed since ``seen``, and the new state."""
        try:
            now = self._find_state(name, who)
        except StoreError as error:  # everything else stays unchanged
            now = seen | {"status": html.paragraph("wrong", str(error), 'role="alert"')}
        updates = {key: gr.update(visible=now.get(key)) for key in ("cancel", "rerun", "load")}
        updates["receipt"] = gr.update(value=now.get("receipt"), visible=bool(now.get("receipt")))
        new = {key for key in now if key not in seen or seen[key] != now[key]}
        return [*(updates.get(key, now.get(key)) if key in new else gr.skip() for key in PARTS), now]

    def _find_state(self, name: str, who: str | None) -> dict[str, Any]:
        try:
            return self._state(self.job(name, who) if name else None, who)
        except UsageError as error:
            return self._state(None, who) | {"status": html.paragraph("wrong", str(error), 'role="alert"')}

    def _state(self, job: Job | None, who: str | None) -> dict[str, Any]:
        """State of the page: the watched job, and the others."""
        made = self.store.jobs("done", limit=MAX_SHOWN, owner=who)
        job_there = job is not None and not job.damaged
        return {
            "status": self._status(job),
            "preview": html.preview(job, _content(self.store.preview(job)) if job else None),
            "cancel": bool(job and not job.over and not job.cancel),
            "rerun": job_there,
            "load": job_there,
            "player": html.player(job) if job and self._is_there(job) else "",
            "receipt": job.receipt if job else "",
            "gallery": html.gallery([(entry, is_file(self.store.poster(entry))) for entry in made]),
        }

    def _status(self, job: Job | None) -> str:
        said = html.status(job, self.store.ahead(job) if job else 0, self.worker_lives())
        full = job is not None and not job.over and shutil.disk_usage(self.store.folder).free < MIN_FREE
        return said + (html.paragraph("wrong", html.FULL) if full else "")

    def _is_there(self, job: Job) -> bool:
        """True if a job is done and its video was not deleted since."""
        return job.status == "done" and is_file(self.store.video(job))

    def submit(self, request: Any, who: str | None = None) -> str:
        """Put a job into the queue with its uploaded files, and return its name.

        Raises:
            GenkitError: the store refused it.
        """
        return self.store.submit(request, who or "", uploads()).id

    def cancel(self, name: str, who: str | None = None) -> None:
        """Stop the watched job."""
        if name:
            self.store.cancel(self.job(name, who).id)

    def rerun(self, name: str, who: str | None = None) -> tuple[Any, str]:
        """Submit the same request again; for a finished job, with the seed it had."""
        try:
            self._request(name, who)
            return self.store.again(self.job(name, who), who or "").id, ""
        except GenkitError as error:
            return gr.skip(), html.paragraph("wrong", str(error), 'role="alert"')

    def request(self, name: str, who: str | None = None) -> dict[str, Any]:
        """Return the request of the watched job.

        Raises:
            UsageError: no job is watched, or its row cannot be read.
        """
        return dict(self._request(name, who).model_dump(exclude_none=True))

    def _request(self, name: str, who: str | None) -> Any:
        job = self.job(name, who)
        if job.damaged:
            raise UsageError(job.error or job.note)
        return job.request


def _content(path: Path) -> bytes | None:
    """Content of a file that may vanish at any time, or None."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def request_of_file(path: str | None) -> dict[str, Any]:
    """Return the request that made an uploaded video; the upload is deleted.

    The file is untrusted, so it is read in a process with a time limit; only few are read concurrently, to leave the
    page its threads.

    Raises:
        GenkitError: genkit did not make this file, it is damaged, or other files are being read.
    """
    from genkit.files.apart import read_header_apart
    from genkit.video.recipe import recipe_of

    if path is None:
        raise UsageError("choose a video that genkit made")
    try:
        if not _reading.acquire(blocking=False):
            raise UsageError("other files are being read; try again in some seconds")
        try:
            return recipe_of(Path(path), read_header_apart(Path(path))).request
        finally:
            _reading.release()
    except GenkitError as error:
        raise UsageError(str(error).replace(repr(str(path)), "this file")) from error
    finally:
        Path(path).unlink(missing_ok=True)
