"""The files of the jobs: finished videos by their names, and what is needed to rebuild a store that was lost.

Beside the store lies one small file for each job that waits, runs or is done: whose it is, and what was asked for. That
of a job which is done is renamed, so that a video which a person removed is not made again.
"""

import calendar
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genkit.apps.jobs.private import flush, narrow, private_file, private_folder
from genkit.errors import GenkitError
from genkit.files.whole import sidecar_path

NAME = re.compile(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{12}|[0-9a-f]{32})\.mp4")
"""Name of a finished video: date and job."""


MADE = ".made"
"""What ``.json`` becomes in the name of a job's file once the job is done."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A job as its files tell of it."""

    id: str
    owner: str
    created: float
    request: str
    """JSON."""
    receipt: str = ""
    done: bool = False


class Files:
    """Where everything of a job lies in the folder of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / ".page"
        self.asked, self.making = self.state / "asked", self.state / "making"

    def prepare(self) -> None:
        """Make the folders for this person alone, and narrow what is there already.

        Raises:
            OSError: they cannot be made.
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
        """Where the video of a job lies once it is done; the name says nothing of what was asked for."""
        return self.folder / f"{time.strftime('%Y-%m-%d', time.gmtime(created))}-{name}.mp4"

    @staticmethod
    def of(film: Path) -> tuple[Path, Path, Path]:
        """Poster, recipe and video, in the order in which they are put in place."""
        return film.with_suffix(".jpg"), sidecar_path(film), film

    def films(self) -> Iterator[Path]:
        """The finished videos."""
        return (path for path in self.folder.iterdir() if NAME.fullmatch(path.name) and is_file(path))

    def publish(self, film: Path) -> None:
        """Put what was made aside in its place, the video last, on the disk and not only in memory.

        Raises:
            OSError: it cannot be put there.
        """
        made = [self.making / path.name for path in self.of(film)]
        for path in filter(is_file, made):
            narrow(path)
            flush(path)
        for path in filter(is_file, made):
            os.replace(path, self.folder / path.name)
        flush(self.folder)

    def adopt(self, film: Path) -> bool:
        """Whether the video of a job is in its place, or lay whole among what was in the making and now is."""
        if is_file(film):
            return True
        made = self.making / film.name
        found = _recipe(made) if is_file(made) else None
        if found is None:
            return False
        if not (is_file(sidecar_path(made)) or is_file(sidecar_path(film))):  # killed between the two
            sidecar_path(made).write_text(found.to_json(indent=2) + "\n", "utf-8")
        self.publish(film)
        return True

    def clear(self, film: Path) -> None:
        """Remove what was put beside a video that never came."""
        for path in () if is_file(film) else self.of(film)[:2]:
            with suppress(OSError):
                path.unlink()

    def ask(self, kept: Kept) -> None:
        """Write down whose a job is, and what was asked for.

        Raises:
            OSError: it cannot be written.
        """
        about = {"owner": kept.owner, "created": kept.created, "request": kept.request}
        with open(private_file(self.asked / f"{kept.id}.json", os.O_TRUNC), "w", encoding="utf-8") as file:
            json.dump(about, file)

    def forget(self, name: str) -> None:
        """The job ended without a video."""
        with suppress(OSError):
            (self.asked / f"{name}.json").unlink()

    def made(self, name: str) -> None:
        """The job ended with a video."""
        with suppress(OSError):
            path = self.asked / f"{name}.json"
            os.replace(path, path.with_suffix(MADE))

    def remembered(self) -> list[Kept]:
        """Every job that the files tell of, in the order of arrival."""
        found = {path.stem: kept for path in self.asked.glob("*.json") if (kept := _asked(path))}
        made = {path.stem: kept for path in self.asked.glob(f"*{MADE}") if (kept := _asked(path))}
        for film in self.films():
            date, name = NAME.fullmatch(film.name).groups()  # type: ignore[union-attr]
            asked = made.get(name) or found.get(name)
            request, receipt = recipe(film) or (asked.request if asked else "", "")
            found[name] = Kept(
                id=name, owner=asked.owner if asked else "", created=asked.created if asked else _moment(film, date),
                request=request, receipt=receipt, done=True,
            )  # fmt: skip
        return sorted(found.values(), key=lambda kept: kept.created)


def is_file(path: Path) -> bool:
    """Whether this is a file itself, and no link to one."""
    return path.is_file() and not path.is_symlink()


def recipe(film: Path) -> tuple[str, str] | None:
    """Request, as JSON, and receipt, as a table, in a video; None where it holds none."""
    found = _recipe(film)
    return found and (json.dumps(found.request), "" if found.receipt is None else str(found.receipt))


def _recipe(film: Path) -> Any:
    from genkit.files.decode import read_header
    from genkit.video.recipe import recipe_of

    try:
        return recipe_of(film, read_header(film))
    except (GenkitError, OSError):
        return None


def _asked(path: Path) -> Kept | None:
    try:
        about: Any = json.loads(path.read_text("utf-8-sig"))
        return Kept(
            id=path.stem, owner=str(about["owner"]), created=float(about["created"]), request=str(about["request"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _moment(film: Path, date: str) -> float:
    """When a file was made, within the day in its name."""
    changed = film.stat().st_mtime
    if time.strftime("%Y-%m-%d", time.gmtime(changed)) == date:
        return changed
    with suppress(ValueError):
        return float(calendar.timegm(time.strptime(date, "%Y-%m-%d")))
    return changed
