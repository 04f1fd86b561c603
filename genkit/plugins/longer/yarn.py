"""YaRN: frequencies of the positions slowed down by parts."""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import FrequenciesByParts


@dataclass(frozen=True, kw_only=True)
class YaRN:
    """Longer videos: frequencies that did not turn around in training are interpolated, fast ones are kept.

    A video of the training length or shorter is not changed. Source: arXiv 2309.00071, "NTK-by-parts" with its
    ``alpha`` (``slow``) and ``beta`` (``fast``). Different from the source: its temperature of the logits is left out,
    because it was fitted to texts of thousands of tokens in one dimension. The fastest frequency of video models turns
    two to five times in the training length, so that with the paper's 32 nearly all are interpolated.
    """

    name: ClassVar[str] = "yarn"
    title: ClassVar[str] = "YaRN"
    paper: ClassVar[str] = "arXiv 2309.00071"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    factor: float | None = None
    """How many times slower, at least 1, which changes nothing. None: as many times as the video is longer than the
    training, in latent frames."""
    slow: float = 1.0
    """Turns in the training length up to which a frequency is fully slowed down."""
    fast: float = 32.0
    """Turns in the training length from which a frequency is unchanged, more than ``slow``."""

    def __post_init__(self) -> None:
        if self.factor is not None and not (isfinite(self.factor) and self.factor >= 1):
            raise UsageError(f"yarn: factor={self.factor} must be a number of at least 1; leave it out for the length")
        if not 0 <= self.slow < self.fast:
            raise UsageError(f"yarn: slow={self.slow} must be at least 0 and less than fast={self.fast}")

    def parts(self, target: Target) -> Parts:
        """Return the plan of positions for a target."""
        return Parts(positions=FrequenciesByParts(factor=self.factor, slow=self.slow, fast=self.fast))
