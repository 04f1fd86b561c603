"""Radial attention: a static mask whose band narrows as frames lie further apart."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.radial import RadialPlanner
from genkit.attention.planners.radial_mask import BlockRule
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.sparse.method import Sparse, reads_first_frame

DECAYS = {"wan": 0.2, "wan2.2": 0.8, "hunyuanvideo": 0.95}
"""By family, what the authors' scripts take for the width of the bands."""


@dataclass(frozen=True, kw_only=True)
class Radial(Sparse):
    """Sparse attention: each pair of frames keeps a diagonal band that halves when their distance doubles.

    Source: arXiv 2506.19852, with the corrections that no query is left without its own block and that blocks which
    straddle two frames are placed by both; ``rule=published`` leaves them out. At 81 frames of 480 x 832 on Wan 2.1 the
    default mask has a density of 0.345, the published one 0.344; with ``decay=1`` they have 0.453 and 0.449.
    """

    name: ClassVar[str] = "radial"
    title: ClassVar[str] = "Radial Attention"
    paper: ClassVar[str] = "arXiv 2506.19852"

    density: float | None = None
    """Share of the query-key pairs to compute, in (0, 1]; None keeps what ``decay`` gives."""
    decay: float | None = None
    """Factor on the band's width; smaller is sparser. Not used when ``density`` is given. None is what the authors take
    for the model: 0.2 for Wan 2.1, 0.8 for Wan 2.2 (with ``block=64``), 0.95 for HunyuanVideo, and the paper's 1 for
    others."""
    rule: BlockRule = "corrected"
    """How tokens become blocks: ``corrected``, or ``published`` as the authors' code does, which can leave a query
    without its own block."""
    first_frame: bool | None = None
    """Whether every query reads the first frame; None is yes where the model keeps text out of self-attention."""
    dense_steps: float = 0.24
    """Share of the steps, from the first, that run dense (the paper: 12 of 50); 0 is none."""

    def check(self) -> None:
        """Shares and widths."""
        self.check_shares("density")
        self.check_choices("rule")
        if self.decay is not None and not self.decay > 0:
            raise UsageError(f"radial: decay={self.decay} must be more than 0")

    def planner(self, target: Target) -> RadialPlanner:
        """The mask for a target."""
        sink = reads_first_frame(target, self.first_frame)
        decay = DECAYS.get(target.family, 1.0) if self.decay is None else self.decay
        return RadialPlanner(density=self.density, decay=decay, block=self.block, sink=sink, block_rule=self.rule)
