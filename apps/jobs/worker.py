"""Worker process that makes the videos of a job store, started by `genkit.apps.jobs.keeper`.

It exits when its standard input closes, so that it never outlives the page that started it.
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
from genkit.apps.jobs.boot import has_rebooted, record_boot
from genkit.apps.jobs.inputs import by_name
from genkit.apps.jobs.preview import Preview
from genkit.apps.jobs.private import hold_lock
from genkit.apps.jobs.publishing import Cancelled, publish, reason_of
from genkit.apps.jobs.store import Job, Store, StoreBroken, StoreError
from genkit.apps.terminal.progress import quiet_libraries
from genkit.errors import GenkitError
from genkit.generation.events import Progress, no_preview
from genkit.request import Request
from genkit.video.video import Video

PAUSE = 0.2
"""Seconds between two polls of an empty queue."""
LEAVING = 3.0
"""Seconds an exiting process waits for the store."""
Maker = Callable[..., Video]
"""``genkit.make`` or a substitute: takes the request, ``on_event`` and ``pipe``."""
T = TypeVar("T")


class Models:
    """Cache of the last used model, kept open for the next job."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._pipe: Any = None

    def pipe(self, request: Request) -> Any:
        """Return the pipeline of a request."""
        from genkit.loading import load

        key = tuple(request.opening().values())
        if key != self._key:
            self.forget()  # first, so that two models are never in memory together
            self._pipe = load(**request.opening())
            self._key = key
        return self._pipe

    def forget(self) -> None:
        """Close the model."""
        self._key = self._pipe = None


def make(request: Request, on_event: Callable[[Progress], None], models: Models) -> Video:
    """Make a video, with an open model if it is the right one.

    Raises:
        UsageError: the page does not offer the model (a foreign row opens nothing), or the request is refused before
            its model is opened.
    """
    import genkit
    from genkit.making import check_request

    page_models.check_opening(request)
    check_request(request)

    on_event(Progress.begin("load"))
    return genkit.make(request, on_event=on_event, pipe=models.pipe(request))


def work(
    store: Store, maker: Maker = make, *, once: bool = False, warm: bool = False, models: Models | None = None
) -> None:
    """Run the jobs of a store, one after the other; a second worker on the same store waits for the first to end.

    Args:
        once: stop when no job waits; else run for ever.
        warm: open the embedded model in advance, so that the first job need not wait for it.
        models: a cache with a model that may be open already; None starts an empty one.
    """
    with hold_lock(store.state / "worker.lock"), _in_hand(store):
        _insist(store, lambda: store.reclaim(crashed=not has_rebooted(store.state)))
        record_boot(store.state)
        shutil.rmtree(store.making, ignore_errors=True)
        _insist(store, store.prune)
        models = models or Models()
        if warm:
            with contextlib.suppress(Exception):  # a job that needs it will report the error
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
    """Repeat ``action`` until the store can be written, however long that takes."""
    while True:
        try:
            return action()
        except StoreBroken:
            with contextlib.suppress(GenkitError):
                if store.state.is_dir():
                    Store(store.folder)  # moves the damaged file aside
        except StoreError as error:
            print(error, file=sys.stderr, flush=True)
        time.sleep(PAUSE)


def _do(store: Store, job: Job, maker: Maker, models: Models) -> None:
    """Run one job, from its claim to its end; an error ends this job only."""
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
        made = maker(store.ready(job), on_event, models)
        video = replace(made, request=by_name(made.request))
        saving = replace(last, stage="save", preview=no_preview)
        on_event(saving)
        publish(video, store, job, lambda: on_event(saving))
        receipt = "" if video.receipt is None else str(video.receipt)
        _insist(store, lambda: store.finish(job, video.request, receipt))
    except Cancelled:
        shutil.rmtree(store.making, ignore_errors=True)
        _insist(store, lambda: store.mark_cancelled(job))
    except Exception as error:  # a crash in a model or a driver must not end the queue
        reason = reason_of(error)
        if not isinstance(error, GenkitError):
            traceback.print_exc()
            models.forget()
        shutil.rmtree(store.making, ignore_errors=True)  # first, so that a full disk has room for the note
        _insist(store, lambda: store.fail(job, reason))
    finally:
        shutil.rmtree(store.making, ignore_errors=True)


_ending = threading.Event()
"""Set when this process is about to exit: no further job is started."""
_held: list[Store] = []
"""Stores whose single worker this process is."""


@contextlib.contextmanager
def _in_hand(store: Store) -> Iterator[None]:
    _held.append(store)
    try:
        yield
    finally:
        _held.remove(store)


def end() -> None:
    """Exit this process at once, even in the middle of a step; its job is queued again without counting an attempt."""
    _ending.set()
    for store in _held:
        with contextlib.suppress(Exception):
            store.reclaim(crashed=False, patience=LEAVING)
    os._exit(0)


def end_with_input() -> None:
    """Exit this process when its standard input closes."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        end()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run the worker of the folder named on the command line, which must exist."""
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
