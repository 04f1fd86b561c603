"""What a tab of the page shows of the job store, and what its buttons do to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from genkit.apps import page_view
from genkit.apps.jobs import Job, Store
from genkit.errors import GenkitError, UsageError
from genkit.video import read_request

SHOWN = 60
"""Videos in the gallery."""
PARTS = ("status", "preview", "cancel", "rerun", "load", "player", "receipt", "gallery")
"""What a look at the store can change on the page."""


class View:
    """What the page shows of a store."""

    def __init__(self, store: Store, worker_lives: Callable[[], bool]) -> None:
        self.store, self.worker_lives = store, worker_lives

    def newest(self) -> str:
        """The job that a new tab watches: the one that runs, else the newest."""
        found = self.store.jobs("running", limit=1) or self.store.jobs(limit=1)
        return found[0].id if found else ""

    def look(self, name: str, seen: dict[str, Any]) -> list[Any]:
        """What has changed since it was ``seen``: the ``PARTS``, the jobs in the gallery, and what is seen now."""
        job = self.store.job(name) if name else None
        made = [entry for entry in self.store.jobs("done", limit=SHOWN) if self.store.poster(entry).is_file()]
        now = self._now(job) | {"gallery": [entry.id for entry in made]}
        changes = now | {key: gr.update(visible=now[key]) for key in ("cancel", "rerun", "load")}
        changes |= {key: gr.update(value=now[key], visible=bool(now[key])) for key in ("player", "receipt")}
        pictures = [(str(self.store.poster(entry)), page_view.caption(entry)) for entry in made]
        changes["gallery"] = gr.update(value=pictures, visible=bool(made))
        new = {key: key not in seen or seen[key] != now[key] for key in now}
        listed = now["gallery"] if new["gallery"] else gr.skip()
        return [*(changes[key] if new[key] else gr.skip() for key in PARTS), listed, now]

    def _now(self, job: Job | None) -> dict[str, Any]:
        """What the page shows of the watched job."""
        film = self._film(job)
        return {
            "status": page_view.status(job, self.store.ahead(job) if job else 0, self.worker_lives()),
            "preview": page_view.preview(job, _content(self.store.preview(job)) if job else None),
            "cancel": bool(job and not job.over and not job.cancel),
            "rerun": job is not None,
            "load": job is not None,
            "player": str(film) if film else None,
            "receipt": job.receipt if job else "",
        }

    def _film(self, job: Job | None) -> Path | None:
        """The video of a job that is done and not deleted since."""
        film = self.store.video(job) if job and job.status == "done" else None
        return film if film and film.is_file() else None

    def cancel(self, name: str) -> None:
        """Stop the watched job."""
        if name:
            self.store.cancel(name)

    def rerun(self, name: str) -> tuple[Any, str]:
        """The same request once more; of a job that is done with the seed it had."""
        if not name:
            return gr.skip(), page_view.paragraph("wrong", page_view.NOTHING)
        try:
            return self.store.submit(self.store.job(name).request).id, ""
        except UsageError as error:
            return gr.skip(), page_view.paragraph("wrong", str(error), 'role="alert"')

    def request(self, name: str) -> dict[str, Any]:
        """What the watched job asked for.

        Raises:
            UsageError: no job is watched.
        """
        if not name:
            raise UsageError(page_view.NOTHING)
        return self.store.job(name).request.model_dump(exclude_none=True)


def _content(path: Path) -> bytes | None:
    """A file that may vanish at any time."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def request_of_file(path: str | None) -> dict[str, Any]:
    """What made an uploaded video; the upload is deleted.

    Raises:
        GenkitError: genkit did not make this file, or it is damaged.
    """
    if path is None:
        raise UsageError("choose a video that genkit made")
    try:
        return read_request(path)
    except GenkitError as error:
        raise UsageError(str(error).replace(repr(str(path)), "this file")) from error
    finally:
        Path(path).unlink(missing_ok=True)
