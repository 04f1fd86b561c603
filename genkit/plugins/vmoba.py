"""VMoBA: a mixture of blocks."""

import math
from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.vmoba import VMoBAPlanner
from genkit.plugin import Target
from genkit.plugins.sparse import Sparse


@dataclass(frozen=True, kw_only=True)
class VMoBA(Sparse):
    """Sparse attention, only to compare against: weak without training, 16.0 dB in its own paper.

    Chunks of the video are cut along time, space or both in turn from layer to layer, and chosen by the product of the
    queries with their mean key. Source: arXiv 2506.23858, where other methods reach 20 to 30 dB untrained.
    """

    name: ClassVar[str] = "vmoba"
    title: ClassVar[str] = "VMoBA"
    paper: ClassVar[str] = "arXiv 2506.23858"
    hides_frames: ClassVar[bool] = False

    threshold: float = 0.25
    """Share of the gates of each row to keep, in (0, 1]; 1 is dense."""
    dense_layers: int = 0
    """Layers, from the first, that run dense (the paper: none)."""

    def check(self) -> None:
        """Shares."""
        self.check_shares("threshold")

    def planner(self, target: Target) -> VMoBAPlanner:
        """The mixture for a target."""
        # The least gate of a row counts as 0, so that the others add up to 1 without it.
        return VMoBAPlanner(threshold=math.inf if self.threshold == 1 else self.threshold, block=self.block)
