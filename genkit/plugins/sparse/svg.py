"""Sparse VideoGen: spatial and temporal heads."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.svg import SvgPlanner
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class SVG(Sparse):
    """Sparse attention: each head keeps a band along space or time, whichever has the smaller error on a few queries.

    Source: arXiv 2502.01776. Every call compares the masks that it would execute, on queries from all frames; the
    published code compares other masks, on queries from the first frames only.
    """

    name: ClassVar[str] = "svg"
    title: ClassVar[str] = "Sparse VideoGen"
    paper: ClassVar[str] = "arXiv 2502.01776"
    hides_frames: ClassVar[bool] = False
    sparse_example: ClassVar[str] = "density=0.3,rows=16"
    dense_example: ClassVar[str] = "density=1,rows=16"
    tiny_example: ClassVar[str] = "density=0.25"

    density: float = 0.3
    """Share of the query-key pairs in the band, in (0, 1] (the source: 0.3 for Wan, 0.25 for HunyuanVideo); as in the
    source, the first frame adds to it, 4 points on 21 latent frames."""
    rows: int = 64
    """Number of queries on which each head is compared."""
    first_frame: bool | None = None
    """Whether spatial heads read the first frame; None is yes for models with separate cross-attention to the text."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the source: 0.2 for Wan, 0.1 for HunyuanVideo); 0 is none."""

    def check(self) -> None:
        """Check shares and counts."""
        self.check_shares("density")
        self.check_least(1, "rows")

    def planner(self) -> SvgPlanner:
        """Return the planner that follows these fields."""
        return SvgPlanner(self)
