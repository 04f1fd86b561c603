"""Publishing of a finished video: moved into place as a whole and flushed, or saved elsewhere; never lost."""

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
"""Seconds to wait for space on a full disk, or for a folder that was moved away."""
PAUSE = 1.0
"""Seconds between two attempts."""
FULL = (errno.ENOSPC, errno.EDQUOT)
PASSING = (*FULL, errno.ENOENT, errno.ESTALE)
"""Errors that may be temporary."""


NOWHERE = "there is no other place to save the finished video"


class Cancelled(Exception):
    """The job has to stop."""


def publish(video: Video, store: Store, job: Job, still_wanted: Callable[[], None]) -> None:
    """Move a video, its poster and its recipe where the page shows them, the video last.

    Args:
        still_wanted: called between two attempts; raises `Cancelled` if the job was cancelled.

    Raises:
        GenkitError: it cannot be written there; the message says where it was saved instead.
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
                raise GenkitError(f"{reason}; {_save_elsewhere(video, store.video(job).name)}") from None
        store.remark(job, f"the video is finished, but {reason}; it will be written once that is fixed")
        still_wanted()
        time.sleep(PAUSE)


def _write(video: Video, store: Store, job: Job) -> None:
    """Write everything aside first, then move it into place."""
    film = store.video(job)
    if not store.state.is_dir():  # the folder was moved away: create nothing
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(store.folder))
    private_folder(store.making)
    _poster(video).save(store.making / store.poster(job).name, quality=85)
    video.save(store.making / film.name, rescue=False)
    store.files.publish(film)


def reason_of(error: Exception) -> str:
    """Return the reason there is no video, as a sentence."""
    if _number(error) in FULL:
        place = getattr(_cause(error), "filename", None)
        return f"the disk is full{f' where {str(place)!r} goes' if place else ''}; free some space there"
    if isinstance(error, GenkitError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip() or 'no reason was given'}"


def _cause(error: BaseException) -> BaseException | None:
    return error if isinstance(error, OSError) else error.__cause__


def _number(error: Exception) -> int | None:
    """``errno`` of the error or of its cause; None if neither comes from the system."""
    cause = _cause(error)
    return cause.errno if isinstance(cause, OSError) else None


def _save_elsewhere(video: Video, name: str) -> str:
    """Save a video in a temporary folder, and return a sentence that says where."""
    try:
        place = Path(tempfile.mkdtemp(prefix="genkit-kept-"))
    except OSError:
        return NOWHERE
    try:
        return f"the finished video is saved as {str(video.save(place / name, rescue=False))!r}"
    except (OSError, GenkitError):
        shutil.rmtree(place, ignore_errors=True)
        return NOWHERE


def _poster(video: Video) -> Any:
    """Middle frame, at least as large as players show it."""
    from PIL import Image

    from genkit.files.encode import enlargement

    pixels = video.uint8()[len(video.frames) // 2]
    height, width, _ = pixels.shape
    factor = enlargement(height, width, None)
    return Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)
