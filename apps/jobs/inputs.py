"""Images and videos of jobs: copied into a folder of each job, and read from nowhere else."""

import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from genkit.apps.jobs.private import flush, narrow, private_folder
from genkit.errors import UsageError
from genkit.inputs.record import DIGEST, FILE, digest_of
from genkit.inputs.words import MEDIA
from genkit.request import Request

NAME = re.compile(rf"({'|'.join(MEDIA)})(-\d{{1,2}})?\.(png|jpg|webp|gif|mp4|webm)")
"""Name of a file in a job's folder: the field that it is for, and its kind by content."""
SIGNATURES: dict[str, Callable[[bytes], bool]] = {
    "png": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    "jpg": lambda head: head.startswith(b"\xff\xd8\xff"),
    "webp": lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    "gif": lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    "mp4": lambda head: head[4:8] == b"ftyp",
    "webm": lambda head: head.startswith(b"\x1a\x45\xdf\xa3"),
}
"""Kinds of files that the page takes, recognised by their beginning, whatever a browser calls them."""
MOVING = ("gif", "mp4", "webm")
"""Kinds that may be videos."""
SETTLED = 3600.0
"""Seconds after which a folder without a job is left over, and not of a job that is being submitted."""


def kind_of(path: Path) -> str | None:
    """Return the kind of a file by its content; None if the page does not take it, or it is not a regular file."""
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return None
    return next((kind for kind, fits in SIGNATURES.items() if fits(head)), None)


class Inputs:
    """Folders of the files that jobs begin with."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "inputs"

    def of(self, name: str) -> Path:
        """Return the folder of a job's files."""
        return self.folder / name

    def keep(self, name: str, request: Request, source: Path) -> Request:
        """Copy the files that a request names into the folder of job ``name``, and flush them to the disk.

        Args:
            source: the folder that they have to be in: uploads, or the folder of another job.

        Returns:
            The request that names them by their names there and their SHA-256.

        Raises:
            UsageError: a file is missing, elsewhere, or of a kind that the page does not take.
            OSError: it cannot be copied.
        """
        given = {word: getattr(request, word) for word in MEDIA if getattr(request, word) is not None}
        if not given:
            return request
        for place in (self.folder, self.of(name)):
            private_folder(place)
        kept = {word: self._keep_each(name, word, value, source) for word, value in given.items()}
        flush(self.of(name))
        return request.model_copy(update=kept)

    def locate(self, name: str, request: Request) -> Request:
        """Return a job's request with the paths of its files.

        Raises:
            UsageError: it names a file that is not in the folder of the job.
        """
        given = {word: getattr(request, word) for word in MEDIA if getattr(request, word) is not None}
        found = {word: _each(value, lambda one: self._located(name, one)) for word, value in given.items()}
        return request.model_copy(update=found) if found else request

    def forget(self, name: str) -> None:
        """Remove the files of a job."""
        shutil.rmtree(self.of(name), ignore_errors=True)

    def prune(self, known: Collection[str]) -> None:
        """Remove what jobs left that are no longer listed."""
        with suppress(OSError):
            for left in self.folder.iterdir():
                if left.name not in known and time.time() - left.stat().st_mtime > SETTLED:
                    self.forget(left.name)

    def _keep_each(self, name: str, word: str, value: Any, source: Path) -> Any:
        several = isinstance(value, list)
        kept = [
            self._keep(name, f"{word}-{number}" if several else word, one, source)
            for number, one in enumerate(value if several else [value], 1)
        ]
        return kept if several else kept[0]

    def _keep(self, name: str, stem: str, one: Any, source: Path) -> dict[str, str]:
        path = source / one[FILE] if isinstance(one, Mapping) else Path(one)
        kind = kind_of(path) if is_inside(path, source) else None
        if kind is None:
            raise UsageError(f"{stem.partition('-')[0]}: this file is no longer there; choose it again")
        copy = self.of(name) / f"{stem}.{kind}"
        shutil.copyfile(path, copy, follow_symlinks=False)
        narrow(copy)
        flush(copy)
        return {FILE: copy.name, DIGEST: digest_of(copy)}

    def _located(self, name: str, one: Any) -> dict[str, str]:
        own = isinstance(one, Mapping) and NAME.fullmatch(str(one.get(FILE))) and isinstance(one.get(DIGEST), str)
        path = self.of(name) / one[FILE] if own else None
        if path is None or path.is_symlink() or not path.is_file():
            raise UsageError("the image or video of this job is no longer there; make the video from the form again")
        return {FILE: str(path), DIGEST: one[DIGEST]}


def by_name(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request in a video without the folders of this machine: files by their names."""
    given = {word: request[word] for word in MEDIA if request.get(word) is not None}
    return {**request, **{word: _each(value, _named) for word, value in given.items()}}


def _named(one: Any) -> Any:
    return {**one, FILE: Path(one[FILE]).name} if isinstance(one, Mapping) and FILE in one else one


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def is_inside(path: Path, folder: Path) -> bool:
    """Return True for a path below a folder, links and dots resolved."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
