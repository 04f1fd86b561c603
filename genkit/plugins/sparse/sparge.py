"""SpargeAttention: blocks by the softmax of their means."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from genkit.attention.geometry.layout import TokenOrder
from genkit.attention.planners.sparge import SpargePlanner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class SpargeAttention(Sparse):
    """Sparse attention: blocks are chosen by pooled scores, unless their tokens are too different to be pooled.

    Source: arXiv 2502.18137, with its authors' current recommendations. They run every step and layer sparse
    (``dense_steps=0, dense_layers=0``), which costs much quality in others' measurements; here the usual warm-up is
    dense.
    """

    name: ClassVar[str] = "sparge"
    title: ClassVar[str] = "SpargeAttention"
    paper: ClassVar[str] = "arXiv 2502.18137"
    sparse_example: ClassVar[str] = "density=0.3"
    dense_example: ClassVar[str] = "density=1"
    tiny_example: ClassVar[str] = "density=0.3"

    choose: Literal["topk", "cdf"] = "topk"
    """``topk`` keeps the share ``density`` of each row, ``cdf`` the blocks whose probabilities add up to ``mass``."""
    density: float = 0.5
    """Share of the key blocks that each row reads with ``topk``, in (0, 1]."""
    mass: float = 0.98
    """Probability to keep with ``cdf``, in (0, 1]; the block that crosses it is left out, as in the published code."""
    similarity: float = -0.1
    """Mean cosine similarity within a block, in [-1, 1], below which the block is always read; 1 is dense."""
    order: TokenOrder = "frames"
    """Order of the tokens in which blocks are cut: ``frames``, one after the other, row by row; ``morton``, a Z-curve
    through space and time; ``morton-2d``, one in each frame. Applied once in a forward of the model."""
    first_frame: bool | None = False
    """Whether every query reads the first frame (the source: no), which adds 2 to 4 points of density on 21 latent
    frames; None is yes for models with separate cross-attention to the text."""

    def check(self) -> None:
        """Check shares, choices and the cosine."""
        self.check_choices("choose", "order")
        self.check_shares("density", "mass")
        if not -1 <= self.similarity <= 1:
            raise UsageError(f"sparge: similarity={self.similarity} is a mean cosine and must be in [-1, 1]")

    def planner(self) -> SpargePlanner:
        """Return the planner that follows these fields."""
        return SpargePlanner(self)
