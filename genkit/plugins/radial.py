"""Radial attention: a static mask whose band narrows as frames lie further apart."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.radial import RadialPlanner
from genkit.errors import UsageError
from genkit.plugin import Target
from genkit.plugins.sparse import Sparse, reads_first_frame


@dataclass(frozen=True, kw_only=True)
class Radial(Sparse):
    """Sparse attention: each pair of frames keeps a diagonal band that halves when their distance doubles.

    Source: arXiv 2506.19852, with the corrections that no query is left without its own block and that blocks which
    straddle two frames are placed by both.
    """

    name: ClassVar[str] = "radial"
    title: ClassVar[str] = "Radial Attention"
    paper: ClassVar[str] = "arXiv 2506.19852"

    density: float | None = None
    """Share of the query-key pairs to compute, in (0, 1]; None keeps what ``decay`` gives."""
    decay: float = 1.0
    """Factor on the band's width; smaller is sparser. Not used when ``density`` is given."""
    first_frame: bool | None = None
    """Whether every query reads the first frame; None is yes where the model keeps text out of self-attention."""
    dense_steps: float = 0.24
    """Share of the steps, from the first, that run dense (the paper: 12 of 50); 0 is none."""

    def check(self) -> None:
        """Shares and widths."""
        self.check_shares("density")
        if not self.decay > 0:
            raise UsageError(f"radial: decay={self.decay} must be more than 0")

    def planner(self, target: Target) -> RadialPlanner:
        """The mask for a target."""
        sink = reads_first_frame(target, self.first_frame)
        return RadialPlanner(density=self.density, decay=self.decay, block=self.block, sink=sink)
