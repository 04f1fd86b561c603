"""The one process that makes the videos of a job store, started by `genkit.apps.jobs.keeper`.

It ends when its standard input does, so that it never outlives the page that started it.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from genkit.apps.jobs import models as page_models
from genkit.apps.jobs.boot import note_start, restarted
from genkit.apps.jobs.preview import Preview
from genkit.apps.jobs.private import locked
from genkit.apps.jobs.publishing import Cancelled, publish, reason_of
from genkit.apps.jobs.store import Job, Store, StoreBroken, StoreError
from genkit.apps.terminal.progress import quiet_libraries
from genkit.errors import GenkitError
from genkit.generation.events import Progress, nothing_to_see
from genkit.request import Request
from genkit.video.video import Video

PAUSE = 0.2
"""Seconds between two looks at an empty queue."""
LEAVING = 3.0
"""Seconds that a process which ends waits for the store."""
OPENED_BY = ("model", "dtype", "device", "offload", "attention_backend")
"""The fields of a request that say how its model is opened."""
Maker = Callable[..., Video]
"""``genkit.make`` or what stands for it: takes the request, ``on_event`` and ``pipe``."""
T = TypeVar("T")


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
    """Make a video with a model that may be open already.

    Raises:
        UsageError: the model is none that the page offers: a row of a folder that came from elsewhere opens nothing;
            or the request is refused without its model, which stays closed then.
    """
    import genkit
    from genkit.making import check_request

    page_models.card_of(request.model)
    check_request(request)

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
    with locked(store.state / "worker.lock"), _in_hand(store):
        _insist(store, lambda: store.reclaim(crashed=not restarted(store.state)))
        note_start(store.state)
        shutil.rmtree(store.making, ignore_errors=True)
        models = models or Models()
        if warm:
            with contextlib.suppress(Exception):  # a job that needs it will tell
                models.pipe(Request(prompt=""))
        while not _ending.is_set():
            job = _insist(store, store.claim)
            if job is not None:
                _do(store, job, maker, models)
            elif once:
                return
            else:
                time.sleep(PAUSE)


def _insist(store: Store, action: Callable[[], T]) -> T:
    """Do what has to be noted, however long the store cannot be written."""
    while True:
        try:
            return action()
        except StoreBroken:
            with contextlib.suppress(GenkitError):
                if store.state.is_dir():
                    Store(store.folder)  # moves what is broken aside
        except StoreError as error:
            print(error, file=sys.stderr, flush=True)
        time.sleep(PAUSE)


def _do(store: Store, job: Job, maker: Maker, models: Models) -> None:
    """One job, from its claim to its end; whatever goes wrong is the end of this job and of nothing else."""
    last, preview, notes = Progress.begin("load"), Preview(store.preview(job)), list[str]()

    def on_event(event: Progress) -> None:
        nonlocal last
        last = event
        if event.notes:
            notes.extend(event.notes)
            store.remark(job, "; ".join(notes))
        preview(event)
        if not store.progress(job, event):
            raise Cancelled

    try:
        video = maker(job.request, on_event, models)
        saving = replace(last, stage="save", preview=nothing_to_see)
        on_event(saving)
        publish(video, store, job, lambda: on_event(saving))
        receipt = "" if video.receipt is None else str(video.receipt)
        _insist(store, lambda: store.finish(job, video.request, receipt))
    except Cancelled:
        shutil.rmtree(store.making, ignore_errors=True)
        _insist(store, lambda: store.stopped(job))
    except Exception as error:  # a crash in a model or a driver must not end the queue
        reason = reason_of(error)
        if not isinstance(error, GenkitError):
            traceback.print_exc()
            models.forget()
        shutil.rmtree(store.making, ignore_errors=True)  # first, so that a full disk has room to note it
        _insist(store, lambda: store.fail(job, reason))
    finally:
        shutil.rmtree(store.making, ignore_errors=True)


_ending = threading.Event()
"""Set when this process is about to end: no job is begun any more."""
_held: list[Store] = []
"""Stores whose one worker this process is."""


@contextlib.contextmanager
def _in_hand(store: Store) -> Iterator[None]:
    _held.append(store)
    try:
        yield
    finally:
        _held.remove(store)


def end() -> None:
    """End this process at once, even in the middle of a step; its job waits again, and no attempt is counted."""
    _ending.set()
    for store in _held:
        with contextlib.suppress(Exception):
            store.reclaim(crashed=False, patience=LEAVING)
    os._exit(0)


def end_with_input() -> None:
    """End this process when its standard input does."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        end()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """The worker of the folder that the command line names, which must be there: none is made."""
    os.umask(0o077)
    end_with_input()
    signal.signal(signal.SIGTERM, lambda *_: end())
    quiet_libraries()
    folder = Path(sys.argv[1])
    if not (folder / ".page").is_dir():
        raise SystemExit(f"there is no store in {str(folder)!r}; was the folder moved away?")
    work(Store(folder), warm=True)


if __name__ == "__main__":
    main()
