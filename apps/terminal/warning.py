"""What the command line says before the first step of a run: which of the things asked for will not come to pass."""

import sys

from genkit.generation.events import OnEvent, Progress
from genkit.record.visible import visible


def warning(draw: OnEvent | None, told: set[str] | None = None) -> OnEvent:
    """Return ``draw`` with every note printed on standard error, except those that were ``told``; None draws nothing.

    ``told`` is added to, so that a note of several runs is printed once.
    """
    told = set() if told is None else told

    def on_event(event: Progress) -> None:
        for note in event.notes:
            if note not in told:
                told.add(note)
                print(f"genkit: note: {visible(note)}", file=sys.stderr, flush=True)
        if draw is not None:
            draw(event)

    return on_event
