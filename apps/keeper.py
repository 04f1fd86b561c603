"""Keeps the one worker process of a page running."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO

from genkit.apps.jobs import Store

QUICK = 0.25
"""Seconds before a worker that has ended is started again; doubled each time for one that ends soon."""
PATIENCE = 30.0
"""The most that this grows to, and how long a worker must have lived to be started at once."""


class Keeper:
    """Starts a worker for a store and starts it again whenever it ends; as a context manager, until the block ends."""

    def __init__(self, store: Store, command: Sequence[str] | None = None) -> None:
        """``command`` starts a worker; None is the real one."""
        self.store = store
        self.command = command or [sys.executable, "-m", "genkit.apps.worker", str(store.folder)]
        self.process: subprocess.Popen[bytes] | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether there is a worker process now."""
        return self.process is not None and self.process.poll() is None

    def _keep(self) -> None:
        pause = QUICK
        with (self.store.state / "worker.log").open("wb") as log:
            while not self._end.is_set():
                begun = time.monotonic()
                self.process = self._start(log)
                while not self._end.wait(0.1) and self.alive:
                    pass
                lived = time.monotonic() - begun
                pause = min(pause * 2, PATIENCE) if lived < PATIENCE else QUICK
                self._end.wait(pause)

    def _start(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C is for the page, which then ends the worker through its standard input."""
        return subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=self.store.state,
            start_new_session=True,
        )

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
