"""SpargeAttention: blocks by pooled scores; blocks whose tokens are not similar are read and read all.

Source: "SpargeAttn", arXiv 2502.18137, section 3, and its published code (``meansim`` with ``topk`` or ``cdf``).
Different from the source (figures with random queries and keys at the size of Wan at 480p, 512 blocks of 64):

- not implemented: INT8 products and the second skip inside the kernel (off by default there); the 128 x 64 blocks are
  square here;
- text and padding are excluded from pooling; the published code pools them like video;
- ``topk`` rounds to the nearest number of blocks, the published code rounds down (154 and 153 of 512 at 0.3);
- a block of queries always reads its own keys, so that a row is never empty: 1 more block in 700 at a density of 0.3;
- ``first_frame`` is an addition, off by default; it raises a density of 0.302 to 0.336, and 0.501 to 0.525.
"""

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.layout import Layout, TokenOrder, layout_of
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.pool import pool
from genkit.attention.planning.ordered import InOrder
from genkit.attention.planning.planner import Settings
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.shared import DENSITIES, top_share


class SpargeSettings(Settings, Protocol):
    """Fields of ``genkit.SpargeAttention`` that decide what is read."""

    @property
    def choose(self) -> Literal["topk", "cdf"]: ...
    @property
    def density(self) -> float: ...
    @property
    def mass(self) -> float: ...
    @property
    def similarity(self) -> float: ...
    @property
    def first_frame(self) -> bool | None: ...
    @property
    def order(self) -> TokenOrder: ...


class SpargePlanner(InOrder[SpargeSettings]):
    """Blocks by the softmax of pooled queries and keys, planned in every call."""

    across_heads = False

    @property
    def layout(self) -> Layout | None:
        """Token order of the ``order`` field."""
        return layout_of(self.settings.order)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"choose": "topk", "density": density} for density in DENSITIES)

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Plan and attend."""
        plan = self.plan(q, k, here)
        return here.attend(q, k, v, plan), here.density(plan)

    def plan(self, q: Tensor, k: Tensor, here: PlannerCall) -> BlockPlan:
        """Return the plan of one call, ``[B, H, blocks, blocks]``."""
        # Softmax is invariant to a constant added to all keys; without it, the tokens of a block are less similar.
        centred, block = k - k.mean(2, keepdim=True), here.block(self.settings.block)
        (query, alike_q), (key, alike_k) = pool(q, block), pool(centred, block, valid=here.valid)
        similar_q, similar_k = alike_q > self.settings.similarity, alike_k > self.settings.similarity
        score = (query @ key.mT * here.scale).masked_fill(~similar_k[:, :, None], float("-inf"))
        share = score.softmax(-1).nan_to_num(0)
        keep = self._top(share) | ~similar_k[:, :, None] | ~similar_q[..., None]
        keep = keep | here.always_kept(block, first_frame=here.reads_first_frame(self.settings.first_frame))
        return BlockPlan(keep, block, q.shape[2], k.shape[2])

    def _top(self, share: Tensor) -> Tensor:
        if self.settings.choose == "topk":
            return top_share(share, self.settings.density)
        ordered, place = share.sort(-1, descending=True)
        below = ordered.cumsum(-1) <= self.settings.mass
        below[..., 0] = True
        return torch.zeros_like(below).scatter_(-1, place, below)
