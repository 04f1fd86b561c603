"""Ending a command from outside: Ctrl-C, SIGTERM and SIGHUP are handled alike.

Each becomes a ``KeyboardInterrupt``, so that whatever cleans up after Ctrl-C cleans up after all of them, and the exit
code is 128 plus the signal number, as in shells: 130, 143, 129.
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
"""Seconds left for cleaning up after a second signal."""
PAUSE = 0.05
"""Seconds until a lost signal is sent again."""


class Stopped(KeyboardInterrupt):
    """A signal that asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def describe_stop() -> str:
    """Return the message about a stopped command."""
    written = ", ".join(repr(str(path)) for path in FINISHED)
    return f"genkit: stopped; {visible(written)} was finished" if written else "genkit: stopped; nothing was written"


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code of a stopped command."""
    return 128 + getattr(error, "number", signal.SIGINT)


@contextlib.contextmanager
def orderly_end(*, for_good: bool) -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread for the first signal, until the block ends.

    After a second signal, cleaning up has one second left: then partial files are removed and the process exits.
    Ignored signals stay ignored (``nohup``, background jobs), and foreign handlers stay in place. A child process
    forked in the block dies of a signal as usual.

    Args:
        for_good: after the first signal has ended the block, ignore further ones, because the process is ending.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    ours = [number for number, how in before.items() if how in (signal.SIG_DFL, signal.default_int_handler)]
    end, hook = _End(), sys.unraisablehook
    for number in ours:
        signal.signal(number, end)
    sys.unraisablehook = lambda lost: end.repeat(lost.exc_value) or hook(lost)
    try:
        yield
    finally:
        end.calm()
        sys.unraisablehook = hook
        for number in ours:
            signal.signal(number, signal.SIG_IGN if for_good and end.first else before[number])


class _End:
    """Handler of all three signals."""

    def __init__(self) -> None:
        self.process, self.first = os.getpid(), 0
        self._hurry: threading.Timer | None = None
        self._again: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.first:
            self._hurry = self._hurry or threading.Timer(GRACE, self._at_once)
            self._hurry.daemon = True
            with contextlib.suppress(RuntimeError):  # a third signal: the timer is already running
                self._hurry.start()
        else:
            self.first = number
            raise Stopped(number)

    def repeat(self, lost: BaseException | None) -> bool:
        """Send a signal again that came inside a destructor or a callback, where Python ignores exceptions."""
        if not isinstance(lost, Stopped):
            return False
        self.first = 0
        self._again = threading.Timer(PAUSE, os.kill, (self.process, lost.number))  # this runs in the destructor, too
        self._again.daemon = True
        self._again.start()
        return True

    def calm(self) -> None:
        """Cancel the timers: cleaning up was done in time, and a block that has ended needs no other signal."""
        for timer in filter(None, (self._hurry, self._again)):
            timer.cancel()

    def _at_once(self) -> None:
        discard_parts()
        with contextlib.suppress(OSError, ValueError):
            shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the progress bar hides the cursor
            getattr(sys.stderr, "screen", sys.stderr).write(f"{shown}{describe_stop()}\n")
            sys.stderr.flush()
        os._exit(128 + self.first)
