"""Progress bar of the command line: on a terminal only, so that pipes and logs stay clean."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from genkit.generation.events import OnEvent, Progress
from genkit.record.visible import visible, visible_lines

STAGES = {
    "load": "loading the model",
    "encode": "reading the prompt",
    "denoise": "making the video",
    "decode": "decoding the frames",
}
MOVES = re.compile(r"(\r|\n|\x1b\[A)*")
"""Characters that tqdm writes between two lines of bars."""


def quiet_libraries() -> None:
    """Turn off the bars of diffusers and transformers, and that of downloads unless on a terminal.

    Must be called before either is imported: they read these variables once.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def progress_bar() -> Iterator[OnEvent | None]:
    """Yield the function that draws each event on standard error; None if that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    said, left = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[left]}"))
    screen = Console(file=_screen(), markup=False, highlight=False)
    with Bar(said, BarColumn(), MofNCompleteColumn(), left, console=screen, transient=True) as bar:
        task = bar.add_task(STAGES["load"], total=None, left="")

        def draw(event: Progress) -> None:
            bar.update(
                task,
                description=STAGES.get(event.stage, visible(event.stage)),
                completed=event.step,
                total=event.total or None,
                left=time_left(event),
            )

        yield draw


def status_line(text: str, *, last: bool) -> None:
    """Show ``text`` in place of the previous line, on a terminal only; after the ``last`` the cursor moves down."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{visible(text)}", end="\n" if last else "", file=_screen(), flush=True)


class Guarded:
    """Standard error that keeps text from controlling the terminal: libraries log strings from outside there."""

    def __init__(self, screen: TextIO) -> None:
        self.screen = screen
        """Underlying stream, for the progress bar."""

    def write(self, text: str) -> int:
        """Write ``text`` with control characters escaped; cursor movements of a download bar pass."""
        begin = "\r" if text.startswith("\r") else ""
        drawn = text if MOVES.fullmatch(text) else begin + visible_lines(text.removeprefix(begin))
        self.screen.write(drawn)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.screen, name)


@contextmanager
def guarded_screen() -> Iterator[None]:
    """Escape everything written to standard error until the block ends."""
    before = sys.stderr
    sys.stderr = Guarded(before)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stderr = before


def _screen() -> TextIO:
    """Standard error before :func:`guarded_screen`: the bar needs its own control characters."""
    return sys.stderr.screen if isinstance(sys.stderr, Guarded) else sys.stderr


def time_left(event: Progress) -> str:
    """Format the remaining time as ``"1:05 left"``; empty before the pace is known and after the last step."""
    if not 0 < event.step < event.total:
        return ""
    minutes, seconds = divmod(round(event.left), 60)
    return f"{minutes}:{seconds:02} left"
