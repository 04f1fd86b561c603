"""PositionInterpolation: a longer video at positions within the training range."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import InterpolatedPositions


@dataclass(frozen=True, kw_only=True)
class PositionInterpolation:
    """Longer videos: frames are squeezed into the positions of the training length, so motion is slower.

    A video of the training length or shorter is not changed. Source: arXiv 2306.15595 (for text), eq. 4. Different from
    the source: the last frame gets exactly the position of the last training frame, and not a fraction of a frame more,
    because the frames of a video are points in time.
    """

    name: ClassVar[str] = "position-interpolation"
    title: ClassVar[str] = "Position Interpolation"
    paper: ClassVar[str] = "arXiv 2306.15595"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    factor: float | None = None
    """Divides all positions: motion is slower by this factor; 1 changes nothing. None fits the video into the training
    length: ``(frames - 1) / (training - 1)`` in latent frames, at least 1."""

    def __post_init__(self) -> None:
        if self.factor is not None and not (isfinite(self.factor) and self.factor >= 1):
            raise UsageError(
                f"position-interpolation: factor={self.factor} must be a number of at least 1; leave it out to fit the "
                "video into the training length"
            )

    def parts(self, target: Target) -> Parts:
        """Return the plan of positions for a target."""
        return Parts(positions=InterpolatedPositions(factor=self.factor))
