"""NTK-aware positions: a larger base for the frequencies of time."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import LargerBase


@dataclass(frozen=True, kw_only=True)
class NTK:
    """Longer videos: slow frequencies of the positions are slowed down, fast ones hardly.

    A video of the training length or shorter is not changed. Source: the NTK-aware scaling of rotary positions as in
    the YaRN paper, arXiv 2309.00071, section 3.1: the base is multiplied by ``factor ** (width / (width - 2))``.
    """

    name: ClassVar[str] = "ntk"
    title: ClassVar[str] = "NTK-aware positions"
    paper: ClassVar[str] = "arXiv 2309.00071"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    factor: float | None = None
    """How many times slower the slowest frequency becomes, at least 1, which changes nothing. None: as many times as
    the video is longer than the training, in latent frames."""

    def __post_init__(self) -> None:
        if self.factor is not None and not (isfinite(self.factor) and self.factor >= 1):
            raise UsageError(f"ntk: factor={self.factor} must be a number of at least 1; leave it out for the length")

    def parts(self, target: Target) -> Parts:
        """Return the plan of positions for a target."""
        return Parts(positions=LargerBase(factor=self.factor))
