"""Radial attention: a static mask whose band narrows with the distance between frames."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from genkit.attention.planners.radial import PAPER_DECAY, RadialPlanner
from genkit.attention.planners.radial_mask import BlockRule
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.sparse.method import Sparse

DECAYS = {"wan": 0.2, "wan2.2": 0.8, "hunyuanvideo": 0.95}
"""Width of the bands in the authors' scripts, by family."""


@dataclass(frozen=True, kw_only=True)
class Radial(Sparse):
    """Sparse attention: each pair of frames keeps a diagonal band, half as wide at twice the distance.

    Source: arXiv 2506.19852, with two corrections: every query keeps its own block, and blocks that span two frames
    count for both; ``rule=published`` leaves them out. At 81 frames of 480 x 832 on Wan 2.1 the
    default mask has a density of 0.345, the published one 0.344; with ``decay=1`` they have 0.453 and 0.449.
    """

    name: ClassVar[str] = "radial"
    title: ClassVar[str] = "Radial Attention"
    paper: ClassVar[str] = "arXiv 2506.19852"
    sparse_example: ClassVar[str] = "density=0.5"
    dense_example: ClassVar[str] = "density=1"
    tiny_example: ClassVar[str] = "density=0.3"

    density: float | None = None
    """Share of the query-key pairs to compute, in (0, 1]; None follows from ``decay``."""
    decay: float | None = None
    """Factor on the width of the band; smaller is sparser. Not used with ``density``. None is the authors' value:
    0.2 for Wan 2.1, 0.8 for Wan 2.2 (with ``block=64``), 0.95 for HunyuanVideo; the paper's 1 for others."""
    rule: BlockRule = "corrected"
    """How the token mask becomes blocks: ``corrected``, or ``published`` as in the authors' code, which can leave a
    query without its own block."""
    first_frame: bool | None = None
    """Whether every query reads the first frame; None is yes for models with separate cross-attention to the text."""
    dense_steps: float = 0.24
    """Share of the steps, from the first, that run dense (the paper: 12 of 50); 0 is none."""

    def check(self) -> None:
        """Check shares and widths."""
        self.check_shares("density")
        self.check_choices("rule")
        if self.decay is not None and not self.decay > 0:
            raise UsageError(f"radial: decay={self.decay} must be more than 0")

    def bound(self, target: Target) -> Self:
        """Return the method with its authors' width for the model."""
        return self if self.decay is not None else replace(self, decay=DECAYS.get(target.family, PAPER_DECAY))

    def planner(self) -> RadialPlanner:
        """Return the planner that follows these fields."""
        return RadialPlanner(self)
