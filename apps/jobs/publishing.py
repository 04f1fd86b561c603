"""A video that is finished comes to its place, whole and on the disk, or is kept somewhere else; it is never lost."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genkit.apps.jobs.private import private_folder
from genkit.apps.jobs.store import Job, Store
from genkit.errors import GenkitError
from genkit.video.video import Video

WAIT = 30.0
"""Seconds for which a full disk, or a folder that was moved away, is waited for."""
PAUSE = 1.0
"""Seconds between two tries."""
FULL = (errno.ENOSPC, errno.EDQUOT)
PASSING = (*FULL, errno.ENOENT, errno.ESTALE)
"""Errors that may go away."""


NOWHERE = "there is no other place to keep the finished video"


class Cancelled(Exception):
    """The job is to stop."""


def publish(video: Video, store: Store, job: Job, still_wanted: Callable[[], None]) -> None:
    """Put a video, its poster and its recipe where the page shows them, the video last.

    Args:
        still_wanted: called between two tries; raises `Cancelled` if nobody wants the video any more.

    Raises:
        GenkitError: it cannot be written there, and the sentence tells where it is kept instead.
    """
    end = time.monotonic() + WAIT
    while True:
        try:
            return _write(video, store, job)
        except (OSError, GenkitError) as error:
            store.files.clear(store.video(job))
            shutil.rmtree(store.making, ignore_errors=True)
            reason = reason_of(error)
            if _number(error) not in PASSING or time.monotonic() >= end:
                raise GenkitError(f"{reason}; {_kept(video, store.video(job).name)}") from None
        store.remark(job, f"the video is finished, but {reason}; it is written as soon as that is mended")
        still_wanted()
        time.sleep(PAUSE)


def _write(video: Video, store: Store, job: Job) -> None:
    """Write everything aside first, then move it to its place."""
    film = store.video(job)
    if not store.state.is_dir():  # nothing is made where a folder was moved away
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(store.folder))
    private_folder(store.making)
    _poster(video).save(store.making / store.poster(job).name, quality=85)
    video.save(store.making / film.name, rescue=False)
    store.files.publish(film)


def reason_of(error: Exception) -> str:
    """Why there is no video, as a sentence."""
    if _number(error) in FULL:
        place = getattr(_cause(error), "filename", None)
        return f"the disk is full{f' where {str(place)!r} goes' if place else ''}; free some space there"
    if isinstance(error, GenkitError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip() or 'no reason was given'}"


def _cause(error: BaseException) -> BaseException | None:
    return error if isinstance(error, OSError) else error.__cause__


def _number(error: Exception) -> int | None:
    """What the system calls the error, or the one that caused it; None for one that is not the system's."""
    cause = _cause(error)
    return cause.errno if isinstance(cause, OSError) else None


def _kept(video: Video, name: str) -> str:
    """Write a video where anything can still be written, and say where."""
    try:
        place = Path(tempfile.mkdtemp(prefix="genkit-kept-"))
    except OSError:
        return NOWHERE
    try:
        return f"the finished video is kept as {str(video.save(place / name, rescue=False))!r}"
    except (OSError, GenkitError):
        shutil.rmtree(place, ignore_errors=True)
        return NOWHERE


def _poster(video: Video) -> Any:
    """The frame in the middle, not smaller than what players show."""
    from PIL import Image

    from genkit.files.encode import enlargement

    pixels = video.uint8()[len(video.frames) // 2]
    height, width, _ = pixels.shape
    factor = enlargement(height, width, None)
    return Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)
