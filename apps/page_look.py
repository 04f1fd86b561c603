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


class View:
    """What the page shows of a store."""

    def __init__(self, store: Store, worker_lives: Callable[[], bool]) -> None:
        self.store, self.worker_lives = store, worker_lives

    def newest(self) -> str:
        """The job that a new tab watches: the one that runs, else the newest."""
        found = self.store.jobs("running", limit=1) or self.store.jobs(limit=1)
        return found[0].id if found else ""

    def look(self, name: str, seen: dict[str, Any]) -> list[Any]:
        """Everything that has changed since it was ``seen``."""
        job = self.store.job(name) if name else None
        film = self._film(job)
        made = [entry for entry in self.store.jobs("done", limit=SHOWN) if self.store.poster(entry).is_file()]
        now = {
            "status": page_view.status(job, self.store.ahead(job) if job else 0, self.worker_lives()),
            "cancel": bool(job and not job.over and not job.cancel),
            "player": str(film) if film else None,
            "receipt": job.receipt if job else "",
            "listed": [entry.id for entry in made],
        }
        values = now | {"cancel": gr.update(interactive=now["cancel"])}
        values["gallery"] = [(str(self.store.poster(entry)), page_view.caption(entry)) for entry in made]
        old = seen | ({"gallery": seen["listed"]} if seen else {})
        new = now | {"gallery": now["listed"]}
        order = ("status", "cancel", "player", "receipt", "gallery", "listed")
        return [*(gr.skip() if key in old and old[key] == new[key] else values[key] for key in order), now]

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
