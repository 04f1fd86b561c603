"""PositionInterpolation: a longer video at positions that the training has seen."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import InterpolatedPositions


@dataclass(frozen=True, kw_only=True)
class PositionInterpolation:
    """Longer videos: frames stand between the positions of training, so that motion takes as many times as long.

    A video of the training length or shorter is not changed. Source: arXiv 2306.15595 (there for text), eq. 4, with one
    difference: the last frame stands where training's last frame stood, and not a fraction of a frame beyond it, since
    frames of a video are points in time and its first is one.
    """

    name: ClassVar[str] = "position-interpolation"
    title: ClassVar[str] = "Position Interpolation"
    paper: ClassVar[str] = "arXiv 2306.15595"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    factor: float | None = None
    """Frames in the place of one: how many times as slow everything moves; 1 changes nothing. None is as many as put
    the last frame where training's last frame stood: ``(frames - 1) / (training - 1)`` in latent frames, or 1."""

    def __post_init__(self) -> None:
        if self.factor is not None and not (isfinite(self.factor) and self.factor >= 1):
            raise UsageError(
                f"position-interpolation: factor={self.factor} must be a number of at least 1; leave it out to fit the "
                "video into the training length"
            )

    def parts(self, target: Target) -> Parts:
        """Plan of positions for a target."""
        return Parts(positions=InterpolatedPositions(factor=self.factor))
