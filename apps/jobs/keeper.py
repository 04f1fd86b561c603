"""Keeps the one worker process of a page running."""

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

from genkit.apps.jobs.private import locked, private_file, temporary_folder
from genkit.apps.jobs.store import Store
from genkit.errors import GenkitError

QUICK = 0.25
"""Seconds before a worker that has ended is started again; doubled each time for one that ends soon."""
PATIENCE = 30.0
"""The most that this grows to, and how long a worker must have lived to be started at once."""
FAREWELL = 8.0
"""Seconds that a worker has to end by itself."""
WORKER = (
    "import sys; sys.path[:] = [place for place in sys.path if place]; from genkit.apps.jobs.worker import main; main()"
)
"""The worker, which imports nothing from the folder that it stands in: ``-P`` does the same from Python 3.11 on."""


class Keeper:
    """Starts a worker for a store and starts it again whenever it ends; as a context manager, until the block ends."""

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
        """Whether there is a worker process now."""
        return self.process is not None and self.process.poll() is None

    def _keep(self) -> None:
        pause = QUICK
        while not self._end.is_set():
            begun = time.monotonic()
            try:
                self.process = self._start()
            except (OSError, MemoryError, subprocess.SubprocessError) as error:
                print(f"genkit: the worker could not be started, and will be again: {error}", file=sys.stderr)
            while not self._end.wait(0.1) and self.alive:
                pass
            lived = time.monotonic() - begun
            pause = min(pause * 2, PATIENCE) if lived < PATIENCE else QUICK
            self._end.wait(pause)

    def _start(self) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C is for the page, which then ends the worker through its standard input."""
        if self._place is None or not self._place.is_dir():  # some machines clear temporary folders after days
            self._place = self._stack.enter_context(temporary_folder())
        with self._log() as log:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._place,
                env=os.environ | {"PYTHONSAFEPATH": "1"},  # for what it starts itself
                start_new_session=True,
            )

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        """Where a worker writes; nowhere while the folder is away or the disk is full."""
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
        """What the worker was doing was not ended by its own fault, unless another page's worker does it already."""
        with (
            contextlib.suppress(sqlite3.Error, OSError, GenkitError),
            locked(self.store.state / "worker.lock", wait=0) as held,
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
