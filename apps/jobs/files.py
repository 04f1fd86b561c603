"""Files of the jobs: finished videos by name, and what is needed to rebuild a lost store.

Next to the store there is one small file for each job that waits, runs or is done, with its owner and its request. It
is renamed once the job is done, so that a video that the user deleted is not made again.
"""

import calendar
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from genkit.apps.jobs.private import flush, narrow, private_file, private_folder
from genkit.apps.jobs.rows import NewJob
from genkit.errors import GenkitError
from genkit.files.whole import sidecar_path

NAME = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{12}|[0-9a-f]{32})\.mp4")
"""Name of a finished video: date and job."""


MADE = ".made"
"""Suffix that replaces ``.json`` in the name of a job's file once the job is done."""


class Files:
    """Paths of a job's files in the folder of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / ".page"
        self.asked, self.making = self.state / "asked", self.state / "making"

    def prepare(self) -> None:
        """Create the folders as private, and restrict existing ones.

        Raises:
            OSError: they cannot be created.
        """
        if not self.folder.exists():
            private_folder(self.folder)
        for place in (self.state, self.asked):
            private_folder(place)
        for path in (*self.state.iterdir(), *self.asked.iterdir()):
            narrow(path)
        for film in self.films():
            for path in self.of(film):
                narrow(path)

    def film(self, name: str, created: float) -> Path:
        """Return the path of a job's finished video; its name reveals nothing of the prompt."""
        return self.folder / f"{time.strftime('%Y-%m-%d', time.gmtime(created))}-{name}.mp4"

    @staticmethod
    def of(film: Path) -> tuple[Path, Path, Path]:
        """Return poster, recipe and video, in the order in which they are moved into place."""
        return film.with_suffix(".jpg"), sidecar_path(film), film

    def films(self) -> Iterator[Path]:
        """Iterate over the finished videos."""
        return (path for path in self.folder.iterdir() if NAME.fullmatch(path.name) and is_file(path))

    def publish(self, film: Path) -> None:
        """Move what was made aside into place, the video last, and flush it to the disk.

        Raises:
            OSError: it cannot be moved there.
        """
        made = [self.making / path.name for path in self.of(film)]
        for path in filter(is_file, made):
            narrow(path)
            flush(path)
        for path in filter(is_file, made):
            os.replace(path, self.folder / path.name)
        flush(self.folder)

    def adopt(self, film: Path) -> bool:
        """Return True if the video of a job is in place, after moving a complete one that was left aside."""
        if is_file(film):
            return True
        made = self.making / film.name
        found = _recipe(made) if is_file(made) else None
        if found is None:
            return False
        if not (is_file(sidecar_path(made)) or is_file(sidecar_path(film))):  # killed between the two writes
            sidecar_path(made).write_text(found.to_json(indent=2) + "\n", "utf-8")
        self.publish(film)
        return True

    def clear(self, film: Path) -> None:
        """Remove the files of a video that was never published."""
        for path in () if is_file(film) else self.of(film)[:2]:
            with suppress(OSError):
                path.unlink()

    def record(self, job: NewJob) -> None:
        """Record a job's owner and request.

        Raises:
            OSError: it cannot be written.
        """
        about = {"owner": job.owner, "created": job.created, "request": job.request}
        with open(private_file(self.asked / f"{job.id}.json", os.O_TRUNC), "w", encoding="utf-8") as file:
            json.dump(about, file)

    def forget(self, name: str) -> None:
        """Delete the record of a job that ended without a video."""
        with suppress(OSError):
            (self.asked / f"{name}.json").unlink()

    def mark_done(self, name: str) -> None:
        """Mark the record of a job that ended with a video."""
        with suppress(OSError):
            path = self.asked / f"{name}.json"
            os.replace(path, path.with_suffix(MADE))

    def records(self) -> list[NewJob]:
        """Return every job that the files record, in order of submission."""
        found = {path.stem: job for path in self.asked.glob("*.json") if (job := _read_record(path))}
        made = {path.stem: job for path in self.asked.glob(f"*{MADE}") if (job := _read_record(path))}
        for film in self.films():
            date, name = NAME.fullmatch(film.name).groups()  # type: ignore[union-attr]
            known = made.get(name) or found.get(name)
            job = known or NewJob(id=name, owner="", created=_moment(film, date), request="")
            request, receipt = recipe(film) or (job.request, "")
            found[name] = replace(job, request=request, receipt=receipt, status="done")
        return sorted(found.values(), key=lambda job: job.created)


def is_file(path: Path) -> bool:
    """Return True for a regular file that is not a link."""
    return path.is_file() and not path.is_symlink()


def recipe(film: Path) -> tuple[str, str] | None:
    """Return the request (JSON) and receipt (table) stored in a video; None if it contains none."""
    found = _recipe(film)
    return found and (json.dumps(found.request), "" if found.receipt is None else str(found.receipt))


def _recipe(film: Path) -> Any:
    from genkit.files.decode import read_header
    from genkit.video.recipe import recipe_of

    try:
        return recipe_of(film, read_header(film))
    except (GenkitError, OSError):
        return None


def _read_record(path: Path) -> NewJob | None:
    try:
        about: Any = json.loads(path.read_text("utf-8-sig"))
        owner, created, request = str(about["owner"]), float(about["created"]), str(about["request"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return NewJob(id=path.stem, owner=owner, created=created, request=request)


def _moment(film: Path, date: str) -> float:
    """Time a file was made, within the date in its name."""
    changed = film.stat().st_mtime
    if time.strftime("%Y-%m-%d", time.gmtime(changed)) == date:
        return changed
    with suppress(ValueError):
        return float(calendar.timegm(time.strptime(date, "%Y-%m-%d")))
    return changed
