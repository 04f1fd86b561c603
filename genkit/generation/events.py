"""Progress of a generation, as ``on_event`` receives it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genkit.video.video import Video


def no_preview() -> None:
    """Return None, as the preview of an event without one."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a run: a solver step is done, or a stage has begun."""

    step: int
    """Steps done."""
    total: int
    """Steps of the run; 0 before they are known."""
    seconds: float
    """Seconds since the first step began."""
    left: float
    """Seconds that the remaining steps will take at the pace so far."""
    stage: str = "denoise"
    """``load``, ``encode`` (the text), ``denoise`` or ``decode``; ``decode`` once for each piece."""
    notes: tuple[str, ...] = ()
    """What will not run as asked, as sentences; reported once, before the first step, with the stage ``encode``."""
    preview: Callable[[], "Video | None"] = field(default=no_preview, repr=False, compare=False)
    """Returns an estimate of the finished video at a small share of a step's cost; None if this model has none. Call it
    before ``on_event`` returns; it does not affect the run."""

    @classmethod
    def begin(cls, stage: str) -> "Progress":
        """Return the event of a stage that begins before the first step."""
        return cls(step=0, total=0, seconds=0.0, left=0.0, stage=stage)


OnEvent = Callable[[Progress], None]
