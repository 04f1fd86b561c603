"""The lengths of video that a model makes, in pixel frames."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Legal lengths: ``step * k + offset`` pixel frames, within bounds."""

    step: int
    """Difference of two neighbouring lengths."""
    offset: int = 1
    """Frames beyond a multiple of ``step``."""
    shortest: int = 1
    """Shortest length, a legal one."""
    longest: int | None = None
    """Longest length, a legal one; None: no bound."""

    @property
    def rule(self) -> str:
        """Lengths in words."""
        bounds = "" if self.longest is None else f", {self.shortest} to {self.longest}"
        if self.step == 1:
            return f"whole numbers from {self.shortest}" if self.longest is None else f"whole numbers{bounds}"
        return f"{self.step}k + {self.offset} frames{bounds}"

    def allow(self, frames: int) -> bool:
        """Return True for a legal length."""
        return frames == self.nearest(frames)

    def nearest(self, frames: int) -> int:
        """Return the legal length next to a number of frames."""
        near = max(self.shortest, round(Fraction(frames - self.offset, self.step)) * self.step + self.offset)
        return near if self.longest is None else min(near, self.longest)
