"""What a generation tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One solver step is done, or a stage has begun."""

    step: int
    """Steps done."""
    total: int
    """Steps of the run."""
    seconds: float
    """Seconds since the first step began."""
    left: float
    """Seconds that the remaining steps will take at the pace so far."""
    stage: str = "denoise"
    """``load``, ``denoise`` or ``decode``."""


OnEvent = Callable[[Progress], None]
