"""Threshold attention: blocks that stand out are read exactly, all others by their mean."""

import math
from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.geometry.layout import TokenOrder
from genkit.attention.operators.threshold.api import ThresholdImpl
from genkit.attention.planners.threshold import ThresholdPlanner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class Threshold(Sparse):
    """Sparse attention, the one to begin with: blocks that stand out are read exactly, all others by their mean.

    Source: "Sol-Attn", arXiv 2607.24027. Nothing is planned, sorted or remembered, and no block is dropped. As in the
    source the first frame is nothing special.
    """

    name: ClassVar[str] = "threshold"
    title: ClassVar[str] = "Threshold Attention"
    paper: ClassVar[str] = "arXiv 2607.24027"
    sparse_example: ClassVar[str] = "tau=1"
    dense_example: ClassVar[str] = "tau=-1000"
    tiny_example: ClassVar[str] = "tau=0.65,first_frame=false"

    tau: float = 1.0
    """Deviations above the mean score from which a block is read exactly: 1 reads about 16 % of the blocks, 1.5 about
    7 %, 2 about 3 %; a very negative one, such as -1000, reads all."""
    first_frame: bool | None = False
    """Whether the first frame is read exactly by all and reads all exactly (the source: no), which turns 16 % of the
    blocks into 24 % on 21 latent frames; None is yes where the model keeps text out of self-attention."""
    order: TokenOrder = "frames"
    """Order of the tokens in which blocks are cut: ``frames``, one after the other, row by row; ``morton``, a Z-curve
    through space and time; ``morton-2d``, one in each frame. Applied once in a forward of the model."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the paper: 0.2); 0 is none."""
    impl: ThresholdImpl = "auto"
    """Which implementation computes it; an explicit choice never falls back."""

    def check(self) -> None:
        """A number."""
        if not math.isfinite(self.tau):
            raise UsageError(f"threshold: tau={self.tau} must be a finite number; -1000 reads every block exactly")
        self.check_choices("order")

    def planner(self) -> ThresholdPlanner:
        """Return the planner that follows these fields."""
        return ThresholdPlanner(self)
