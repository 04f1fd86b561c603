"""Threshold attention: blocks with high scores are read exactly, all others by their mean."""

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
    """Sparse attention, the one to start with: blocks with high scores are read exactly, all others by their mean.

    Source: "Sol-Attn", arXiv 2607.24027. It needs no planning, sorting or cache, and drops no block. As in the source,
    the first frame is not treated specially.
    """

    name: ClassVar[str] = "threshold"
    title: ClassVar[str] = "Threshold Attention"
    paper: ClassVar[str] = "arXiv 2607.24027"
    sparse_example: ClassVar[str] = "tau=1"
    dense_example: ClassVar[str] = "tau=-1000"
    tiny_example: ClassVar[str] = "tau=0.65,first_frame=false"

    tau: float = 1.0
    """Standard deviations above the mean score from which a block is read exactly: 1 reads about 16 % of the blocks,
    1.5 about 7 %, 2 about 3 %; a very negative value, such as -1000, reads all."""
    first_frame: bool | None = False
    """Whether the first frame is read exactly by all and reads all exactly (the source: no), which turns 16 % of the
    blocks into 24 % on 21 latent frames; None is yes for models with separate cross-attention to the text."""
    order: TokenOrder = "frames"
    """Order of the tokens in which blocks are cut: ``frames``, one after the other, row by row; ``morton``, a Z-curve
    through space and time; ``morton-2d``, one in each frame. Applied once in a forward of the model."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the paper: 0.2); 0 is none."""
    impl: ThresholdImpl = "auto"
    """Implementation of the operator; an explicit choice never falls back."""

    def check(self) -> None:
        """Check the threshold."""
        if not math.isfinite(self.tau):
            raise UsageError(f"threshold: tau={self.tau} must be a finite number; -1000 reads every block exactly")
        self.check_choices("order")

    def planner(self) -> ThresholdPlanner:
        """Return the planner that follows these fields."""
        return ThresholdPlanner(self)
