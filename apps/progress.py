"""The progress bar of the command line: on a terminal only, so that a pipe and a log stay clean."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from genkit.events import OnEvent, Progress

STAGES = {
    "load": "loading the model",
    "encode": "reading the prompt",
    "denoise": "making the video",
    "decode": "decoding the frames",
}


def quiet_libraries() -> None:
    """Turn off the bars of diffusers and transformers, and that of downloads outside a terminal.

    To be called before either is imported: they read these variables once.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def progress_bar() -> Iterator[OnEvent | None]:
    """Give the function that draws each event on standard error; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(STAGES["load"], total=None, left="")

        def draw(event: Progress) -> None:
            bar.update(
                task,
                description=STAGES.get(event.stage, event.stage),
                completed=event.step,
                total=event.total or None,
                left=time_left(event),
            )

        yield draw


def time_left(event: Progress) -> str:
    """``"1:05 left"``; nothing before the pace is known and when all steps are done."""
    if not 0 < event.step < event.total:
        return ""
    minutes, seconds = divmod(round(event.left), 60)
    return f"{minutes}:{seconds:02} left"
