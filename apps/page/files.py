"""Videos of the page and their posters, served by the names of their jobs and to their owners only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from genkit.apps.jobs.files import is_file
from genkit.apps.jobs.store import Job, Store
from genkit.errors import GenkitError

Who = Callable[[Any], str | None]
"""Returns the account a request comes from; None if no password is required."""
PRIVATE = {"Cache-Control": "private, max-age=3600"}


def may_see(job: Job, who: str | None) -> bool:
    """Return True if this person owns the job; without passwords everyone owns all."""
    return who is None or job.owner == who


def video_address(job: Job) -> str:
    """Return the address of a job's video, relative to the page."""
    return f"video/{job.id}.mp4"


def poster_address(job: Job) -> str:
    """Return the address of a job's poster, relative to the page."""
    return f"poster/{job.id}.jpg"


def add_files(app: Any, store: Store, who: Who) -> None:
    """Serve the files of finished jobs from a FastAPI application; missing and foreign ones get the same answer."""
    from fastapi import Request, Response
    from fastapi.responses import FileResponse, PlainTextResponse

    def given(name: str, request: Request, path_of: Callable[[Job], Path], kind: str) -> Response:
        try:
            job = store.job(name)
        except GenkitError:
            job = None
        path = path_of(job) if job and job.status == "done" and may_see(job, who(request)) else None
        if path is None or not is_file(path):
            return PlainTextResponse("there is no such video\n", 404)
        return FileResponse(
            path, media_type=kind, filename=path.name, content_disposition_type="inline", headers=PRIVATE
        )

    @app.api_route("/video/{name}.mp4", methods=["GET", "HEAD"])
    def video(name: str, request: Request) -> Response:
        return given(name, request, store.video, "video/mp4")

    @app.api_route("/poster/{name}.jpg", methods=["GET", "HEAD"])
    def poster(name: str, request: Request) -> Response:
        return given(name, request, store.poster, "image/jpeg")
