"""Supervision of a page's single worker process."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from genkit.apps.jobs.private import hold_lock, private_file, temporary_folder
from genkit.apps.jobs.store import Store
from genkit.errors import GenkitError

QUICK = 0.25
"""Seconds before an ended worker is restarted; doubled each time one ends soon."""
PATIENCE = 30.0
"""Longest such pause, and the lifetime after which a worker is restarted without delay."""
FAREWELL = 8.0
"""Seconds a worker is given to exit by itself."""
WORKER = (
    "import sys; sys.path[:] = [place for place in sys.path if place]; from genkit.apps.jobs.worker import main; main()"
)
"""Command of the worker, which imports nothing from its working folder: ``-P`` does the same from Python 3.11."""


class Keeper:
    """Starts a worker for a store and restarts it whenever it ends, until the ``with`` block ends."""

    def __init__(self, store: Store, command: Sequence[str] | None = None) -> None:
        """``command`` starts a worker, in an empty folder; None is the real one."""
        self.store = store
        self.command = command or [sys.executable, "-c", WORKER, str(store.folder)]
        self.process: subprocess.Popen[bytes] | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._stack = contextlib.ExitStack()
        self._place: Path | None = None

    @property
    def alive(self) -> bool:
        """True if a worker process is running."""
        return self.process is not None and self.process.poll() is None

    def _keep(self) -> None:
        pause = QUICK
        while not self._end.is_set():
            begun = time.monotonic()
            try:
                self.process = self._start()
            except (OSError, MemoryError, subprocess.SubprocessError) as error:
                print(f"genkit: the worker could not be started; trying again: {error}", file=sys.stderr)
            while not self._end.wait(0.1) and self.alive:
                pass
            lived = time.monotonic() - begun
            pause = min(pause * 2, PATIENCE) if lived < PATIENCE else QUICK
            self._end.wait(pause)

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start the worker in its own session: Ctrl-C reaches only the page, which then closes the worker's input."""
        if self._place is None or not self._place.is_dir():  # some machines clear temporary folders after days
            self._place = self._stack.enter_context(temporary_folder())
        with self._log() as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._place,
                env=os.environ | {"PYTHONSAFEPATH": "1"},  # for its child processes
                start_new_session=True,
            )

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        """Descriptor of the worker's log; the null device while the folder is missing or the disk is full."""
        try:
            handle = private_file(self.store.state / "worker.log", os.O_APPEND)
        except OSError:
            yield subprocess.DEVNULL
            return
        try:
            yield handle
        finally:
            os.close(handle)

    def __enter__(self) -> "Keeper":
        with contextlib.suppress(OSError):
            (self.store.state / "worker.log").unlink()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        with self._stack:
            if self.process is not None:
                _end(self.process)
                self._put_back()

    def _put_back(self) -> None:
        """Requeue the interrupted job without counting an attempt, unless another page's worker does so already."""
        with (
            contextlib.suppress(sqlite3.Error, OSError, GenkitError),
            hold_lock(self.store.state / "worker.lock", wait=0) as held,
        ):
            if held:
                self.store.reclaim(crashed=False, patience=1.0)


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
