"""What ends a command from outside: Ctrl-C, SIGTERM and SIGHUP all end it in the same order.

Each becomes a ``KeyboardInterrupt``, so that everything that cleans up after Ctrl-C cleans up after all of them, and
the exit code is 128 and the number of the signal, as shells count: 130, 143, 129.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from genkit.files.whole import FINISHED, discard_parts
from genkit.record.visible import visible

GRACE = 1.0
"""Seconds that cleaning up may still take after a second signal."""


class Stopped(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def said() -> str:
    """Return what is told of a command that was stopped."""
    written = ", ".join(repr(str(path)) for path in FINISHED)
    return f"genkit: stopped; {visible(written)} was finished" if written else "genkit: stopped; nothing was written"


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was stopped."""
    return 128 + getattr(error, "number", signal.SIGINT)


@contextlib.contextmanager
def orderly_end(*, for_good: bool) -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread for the first signal, until the block ends.

    After a second signal cleaning up has one second left: then half-written files are removed and the process ends.
    What is ignored stays ignored (``nohup``, jobs in the background), and handlers of others stay. A child that was
    forked meanwhile dies of a signal as if nothing had been set.

    Args:
        for_good: ignore further signals once a first one has ended the block, because the process ends with it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    ours = [number for number, how in before.items() if how in (signal.SIG_DFL, signal.default_int_handler)]
    end = _End()
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        end.calm()
        for number in ours:
            signal.signal(number, signal.SIG_IGN if for_good and end.first else before[number])


class _End:
    """The handler of all three signals."""

    def __init__(self) -> None:
        self.process, self.first = os.getpid(), 0
        self._hurry: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.first:
            self._hurry = self._hurry or threading.Timer(GRACE, self._at_once)
            self._hurry.daemon = True
            with contextlib.suppress(RuntimeError):  # a third signal: it runs already
                self._hurry.start()
        else:
            self.first = number
            raise Stopped(number)

    def calm(self) -> None:
        """Everything is cleaned up in time."""
        if self._hurry is not None:
            self._hurry.cancel()

    def _at_once(self) -> None:
        discard_parts()
        with contextlib.suppress(OSError, ValueError):
            shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a bar hides the cursor
            getattr(sys.stderr, "screen", sys.stderr).write(f"{shown}{said()}\n")
            sys.stderr.flush()
        os._exit(128 + self.first)
