"""AdaSpa: blocks by their exact softmax mass."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from genkit.attention.geometry.layout import TokenOrder
from genkit.attention.planners.adaspa import AdaSpaPlanner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse

Shares = Annotated[tuple[float, ...], "shares joined by x, or none"]


@dataclass(frozen=True, kw_only=True)
class AdaSpa(Sparse):
    """Sparse attention: a few steps measure the exact mass of all blocks, the steps between read the heaviest.

    Source: arXiv 2502.21079; no code was published. ``recall`` needs only one search, without trying settings.
    """

    name: ClassVar[str] = "adaspa"
    title: ClassVar[str] = "AdaSpa"
    paper: ClassVar[str] = "arXiv 2502.21079"
    sparse_example: ClassVar[str] = "density=0.3"
    dense_example: ClassVar[str] = "density=1"
    tiny_example: ClassVar[str] = "density=0.33,first_frame=false,dense_layers=1"

    density: float = 0.2
    """Share of the key blocks that each row reads, in (0, 1]."""
    adaptive: bool = True
    """Whether heads that keep much of their mass pass density to heads that keep little; the total stays the same."""
    searches: Shares = (0.6,)
    """Further searches after the first sparse step, as shares of the steps in (0, 1) (the paper: step 30 of 50)."""
    order: TokenOrder = "frames"
    """Order of the tokens in which blocks are cut: ``frames``, one after the other, row by row; ``morton``, a Z-curve
    through space and time; ``morton-2d``, one in each frame. Applied once in a forward of the model."""
    first_frame: bool | None = False
    """Whether every query reads the first frame (the source: no), which adds up to 5 points of density on 21 latent
    frames; None is yes for models with separate cross-attention to the text."""
    dense_steps: float = 0.2
    """Share of the steps, from the first, that run dense (the paper: 10 of 50); 0 is none."""
    dense_layers: int = 0
    """Layers, from the first, that run dense (the paper: none)."""

    def check(self) -> None:
        """Check shares and choices."""
        self.check_shares("density")
        self.check_choices("order")
        if not all(0 < share < 1 for share in self.searches):
            raise UsageError(f"adaspa: searches={self.searches} are shares of the steps and must be in (0, 1)")

    @classmethod
    def layer_fields(cls) -> frozenset[str]:
        """Return the method's own fields, ``block`` and ``recall``, which needs only one search."""
        return super().layer_fields() | {"recall"}

    def planner(self) -> AdaSpaPlanner:
        """Return the planner that follows these fields."""
        return AdaSpaPlanner(self)
