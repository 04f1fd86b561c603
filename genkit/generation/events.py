"""What a generation tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genkit.video.video import Video


def nothing_to_see() -> None:
    """The preview of an event that has none."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One solver step is done, or a stage has begun."""

    step: int
    """Steps done."""
    total: int
    """Steps of the run; 0 before they are known."""
    seconds: float
    """Seconds since the first step began."""
    left: float
    """Seconds that the remaining steps will take at the pace so far."""
    stage: str = "denoise"
    """``load``, ``encode`` (the text), ``denoise`` or ``decode``; the last comes once for each piece decoded."""
    notes: tuple[str, ...] = ()
    """What is known before the first step not to run as asked, as sentences; told once, with the stage ``encode``."""
    preview: Callable[[], "Video | None"] = field(default=nothing_to_see, repr=False, compare=False)
    """Gives the frames that the run is heading for, at a small share of a step's cost; None where this model cannot.
    To be called before ``on_event`` returns, if at all; it changes nothing in the run."""

    @classmethod
    def begin(cls, stage: str) -> "Progress":
        """A stage before the first step begins."""
        return cls(step=0, total=0, seconds=0.0, left=0.0, stage=stage)


OnEvent = Callable[[Progress], None]
