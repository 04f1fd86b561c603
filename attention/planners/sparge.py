"""SpargeAttention's choice of blocks: pooled scores where blocks are alike inside, everything where they are not.

Source: "SpargeAttn", arXiv 2502.18137, section 3, and its published code (``meansim`` with ``topk`` or ``cdf``).
Different from the source (figures with random queries and keys at the size of Wan at 480p, 512 blocks of 64):

- not taken over: INT8 products, the second skip inside the kernel (off by default there), and 128 x 64 blocks, which
  become square;
- text and padding are set apart; the published code pools them like video;
- ``topk`` rounds to the nearest number of blocks where the published code cuts (154 of 512 at 0.3, there 153);
- a block of queries always reads its own keys, so that no row is ever empty: 1 of 700 blocks more at a density of 0.3;
- ``first_frame`` is an addition, and off; it makes 0.336 of 0.302, and 0.525 of 0.501.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genkit.attention.geometry.layout import Layout, TokenOrder, layout_of
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.pool import pool
from genkit.attention.planning.ordered import InOrder
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.shared import DENSITIES, top_share


@dataclass(frozen=True, kw_only=True)
class SpargePlanner(InOrder):
    """Blocks by the softmax of pooled queries and keys, planned anew in every call."""

    choose: Literal["topk", "cdf"] = "topk"
    """``topk`` keeps a fixed share of each row, ``cdf`` the blocks whose probabilities add up to less than ``mass``."""
    density: float = 0.5
    """Share of each row with ``topk``, in (0, 1]."""
    mass: float = 0.98
    """Probability with ``cdf``, in (0, 1]; the block that crosses it is left out, as in the published code."""
    similarity: float = -0.1
    """Mean cosine inside a block below which it is not judged by its mean: its keys are read by all, and its queries
    read all."""
    block: int | None = None
    """Tokens of a block; None is 64, or less for small frames."""
    first_frame: bool = False
    """Whether every query reads the first frame."""
    order: TokenOrder = "frames"
    """Order of the tokens in which blocks are cut."""
    name: str = "sparge"

    @property
    def layout(self) -> Layout | None:
        """The order that tokens are given in."""
        return layout_of(self.order)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"choose": "topk", "density": density} for density in DENSITIES)

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Plan and attend."""
        plan = self.plan(q, k, here)
        return here.attend(q, k, v, plan), here.density(plan)

    def plan(self, q: Tensor, k: Tensor, here: PlannerCall) -> BlockPlan:
        """The blocks of one call ``[B, H, blocks, blocks]``."""
        # Softmax does not see a constant added to all keys; without it, blocks look less alike.
        centred, block = k - k.mean(2, keepdim=True), here.block(self.block)
        (query, alike_q), (key, alike_k) = pool(q, block), pool(centred, block, valid=here.valid)
        similar_q, similar_k = alike_q > self.similarity, alike_k > self.similarity
        score = (query @ key.mT * here.scale).masked_fill(~similar_k[:, :, None], float("-inf"))
        share = score.softmax(-1).nan_to_num(0)
        keep = self._greatest(share) | ~similar_k[:, :, None] | ~similar_q[..., None]
        keep = keep | here.always_kept(block, first_frame=self.first_frame)
        return BlockPlan(keep, block, q.shape[2], k.shape[2])

    def _greatest(self, share: Tensor) -> Tensor:
        if self.choose == "topk":
            return top_share(share, self.density)
        ordered, place = share.sort(-1, descending=True)
        below = ordered.cumsum(-1) <= self.mass
        below[..., 0] = True
        return torch.zeros_like(below).scatter_(-1, place, below)
