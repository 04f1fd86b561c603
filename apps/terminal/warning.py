"""Notes before the first step of a run: what was requested but will not take effect."""

import sys

from genkit.generation.events import OnEvent, Progress
from genkit.record.visible import visible


def warning(draw: OnEvent | None, reported: set[str] | None = None) -> OnEvent:
    """Return ``draw`` with every note printed on standard error, except those in ``reported``; None draws nothing.

    Notes are added to ``reported``, so that a note of several runs is printed once.
    """
    reported = set() if reported is None else reported

    def on_event(event: Progress) -> None:
        for note in event.notes:
            if note not in reported:
                reported.add(note)
                print(f"genkit: note: {visible(note)}", file=sys.stderr, flush=True)
        if draw is not None:
            draw(event)

    return on_event
