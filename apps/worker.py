"""The one process that makes the videos of a job store: ``python -m genkit.apps.worker FOLDER``.

It ends when its standard input does, so that it never outlives the page that started it.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from genkit.apps.jobs import Job, Store
from genkit.apps.preview import Preview
from genkit.apps.progress import quiet_libraries
from genkit.errors import GenkitError
from genkit.events import Progress, nothing_to_see
from genkit.outputs import sidecar_path
from genkit.request import Request
from genkit.video import Video

PAUSE = 0.2
"""Seconds between two looks at an empty queue."""
OPENED_BY = ("model", "dtype", "device", "offload", "attention_backend")
"""The fields of a request that say how its model is opened."""
Maker = Callable[..., Video]
"""``genkit.make`` or what stands for it: takes the request, ``on_event`` and ``pipe``."""


class Cancelled(Exception):
    """The job is to stop."""


class Models:
    """The model that was used last stays open for the next job."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._pipe: Any = None

    def pipe(self, request: Request) -> Any:
        """The pipeline that a request asks for."""
        from genkit.loading import load

        key = tuple(getattr(request, name) for name in OPENED_BY)
        if key != self._key:
            self.forget()  # first, so that two models never fill the memory together
            self._pipe = load(**{name: getattr(request, name) for name in OPENED_BY})
            self._key = key
        return self._pipe

    def forget(self) -> None:
        """Close it."""
        self._key = self._pipe = None


def make(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
    """Make a video with a model that may be open already."""
    import genkit

    on_event(Progress.begin("load"))
    return genkit.make(request, on_event=on_event, pipe=models.pipe(request))


def work(
    store: Store, maker: Maker = make, *, once: bool = False, warm: bool = False, models: Models | None = None
) -> None:
    """Do the jobs of a store, one after the other; a second worker on the same store waits until the first has ended.

    Args:
        once: until no job waits; else for ever.
        warm: open the embedded model before there is a job, so that the first need not wait for it.
        models: one of these may be open already; None opens its own.
    """
    with _alone(store):
        store.reclaim()
        shutil.rmtree(store.making, ignore_errors=True)
        models = models or Models()
        if warm:
            with contextlib.suppress(GenkitError):  # a job that needs it will tell
                models.pipe(Request(prompt=""))
        while True:
            job = store.claim()
            if job is not None:
                _do(store, job, maker, models)
            elif once:
                return
            else:
                time.sleep(PAUSE)


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Hold a lock that the system takes back when this process ends, in whatever way."""
    with contextlib.closing(sqlite3.connect(store.state / "worker.lock", timeout=0, isolation_level=None)) as lock:
        while True:
            try:
                lock.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError:
                time.sleep(PAUSE)
        yield


def _do(store: Store, job: Job, maker: Maker, models: Models) -> None:
    """One job, from its claim to its end; whatever goes wrong is the end of this job and of nothing else."""
    last, preview = Progress.begin("load"), Preview(store.preview(job))

    def on_event(event: Progress) -> None:
        nonlocal last
        last = event
        preview(event)
        if not store.progress(job, event):
            raise Cancelled

    try:
        video = maker(job.request, on_event, models)
        on_event(replace(last, stage="save", preview=nothing_to_see))
        _publish(video, store, job)
        store.finish(job, video.request, "" if video.receipt is None else str(video.receipt))
    except Cancelled:
        store.stopped(job)
    except GenkitError as error:
        store.fail(job, str(error))
    except Exception as error:  # a crash in a model or a driver must not end the queue
        traceback.print_exc()
        models.forget()
        store.fail(job, f"{type(error).__name__}: {str(error).strip() or 'no reason was given'}")
    finally:
        shutil.rmtree(store.making, ignore_errors=True)


def _publish(video: Video, store: Store, job: Job) -> None:
    """Write everything aside first, then move it to its place, the video last."""
    film, picture = store.video(job), store.poster(job)
    made = video.save(store.making / film.name)
    poster = store.making / picture.name
    _poster(video).save(poster, quality=85)
    for part, place in ((poster, picture), (sidecar_path(made), sidecar_path(film)), (made, film)):
        os.replace(part, place)


def _poster(video: Video) -> Any:
    """The frame in the middle, not smaller than what players show."""
    from PIL import Image

    from genkit.encode import enlargement

    pixels = video.uint8()[len(video.frames) // 2]
    height, width, _ = pixels.shape
    factor = enlargement(height, width, None)
    return Image.fromarray(pixels).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def end_with_input() -> None:
    """End this process when its standard input does, even in the middle of a step."""

    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """The worker of the folder that the command line names."""
    end_with_input()
    quiet_libraries()
    work(Store(Path(sys.argv[1])), warm=True)


if __name__ == "__main__":
    main()
