"""AdaSpa: blocks by exact softmax mass, searched in a few steps and reused in between.

Source: "AdaSpa", arXiv 2502.21079, sections 4.2 and 4.3; no code was published. The first search follows the warm-up
and needs the log-sum-exp of dense attention; later ones reuse it, so that one pass is enough. Their mass is therefore
not a share of a softmax: it still ranks blocks and heads, but a recall is not recorded. Different from the source:

- searches are given as shares of the run (the paper: steps 10 and 30 of 50);
- a block of queries always reads its own keys;
- ``first_frame`` is an addition, off by default;
- a recall can be requested instead of a density; the exact mass reaches it directly, with a new log-sum-exp at every
  search.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.layout import Layout, TokenOrder, layout_of
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_mass import block_mass, recall
from genkit.attention.planning.ordered import InOrder
from genkit.attention.planning.planner import Settings
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.shared import DENSITIES, top_share

GOOD_RECALL = 0.8
"""Recall at the common density above which a head may give some of it away."""


class AdaSpaSettings(Settings, Protocol):
    """Fields of ``genkit.AdaSpa`` that decide what is read."""

    @property
    def density(self) -> float: ...
    @property
    def recall(self) -> float | None: ...
    @property
    def adaptive(self) -> bool: ...
    @property
    def searches(self) -> tuple[float, ...]: ...
    @property
    def first_frame(self) -> bool | None: ...
    @property
    def order(self) -> TokenOrder: ...


class AdaSpaPlanner(InOrder[AdaSpaSettings]):
    """Blocks by exact mass, per head; searched in the first sparse step and at ``searches``."""

    @property
    def across_heads(self) -> bool:
        """True if heads exchange density."""
        return self.settings.adaptive and self.settings.recall is None

    @property
    def layout(self) -> Layout | None:
        """Token order of the ``order`` field."""
        return layout_of(self.settings.order)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        if recall is not None:
            return ({"recall": recall},)
        return tuple({"density": density} for density in DENSITIES)

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Search if a search is due, and attend by the latest plan."""
        phase = self._phase(here)
        found: tuple[int, BlockPlan, Tensor] | None = here.per_layer(lambda: None, "plan")
        if found is None or found[0] != phase:
            exact = found is None or self.settings.recall is not None
            if exact:
                here.set_per_layer(here.dense(q, k, v)[1], "lse")
            lse = here.per_layer(lambda: here.dense(q, k, v)[1], "lse")
            plan, kept = self.plan(q, k, lse, here)
            found = (phase, plan, here.density(plan))
            here.set_per_layer(found, "plan")
            if exact:
                here.call.run.measured(self.name, "recall", kept)
        return here.attend(q, k, v, found[1]), found[2]

    def plan(self, q: Tensor, k: Tensor, lse: Tensor, here: PlannerCall) -> tuple[BlockPlan, Tensor]:
        """Return the plan ``[B, H, blocks, blocks]`` and its recall ``[B, H]``."""
        block = here.block(self.settings.block)
        mass = block_mass(q, k, lse, block, scale=here.scale, valid=here.valid)
        keep = self._enough(mass) if self.settings.recall is not None else self._densest(mass, here)
        keep |= here.always_kept(block, first_frame=here.reads_first_frame(self.settings.first_frame))
        return BlockPlan(keep, block, q.shape[2], k.shape[2]), recall(mass, keep)

    def _densest(self, mass: Tensor, here: PlannerCall) -> Tensor:
        keep = top_share(mass, self.settings.density)
        if not self.across_heads:
            return keep
        kept, own = here.all_heads(recall(mass, keep))
        return top_share(mass, head_densities(kept, self.settings.density)[:, own])

    def _enough(self, mass: Tensor) -> Tensor:
        """Min number of blocks of each head with ``recall`` of its mass; rows share them."""
        assert self.settings.recall is not None
        flat = mass.flatten(-2)
        ordered, place = flat.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        needed = before < self.settings.recall * flat.sum(-1, keepdim=True)
        return torch.zeros_like(needed).scatter_(-1, place, needed).unflatten(-1, mass.shape[-2:])

    def _phase(self, here: PlannerCall) -> int:
        return sum(here.call.step.is_past(share) for share in self.settings.searches)


def head_densities(kept: Tensor, density: float) -> Tensor:
    """Return the density of each head ``[B, H]``, given its recall ``kept`` at ``density``.

    With ``n`` heads above ``GOOD_RECALL``, at most half of all, the ``n`` best give half of their density to the ``n``
    worst; the paper's ``(1 + s) / 2`` and ``(3 s - 1) / 2`` for a sparsity ``s``. No head exceeds 1: above a density of
    2/3 less is given away, at 1 nothing.
    """
    heads = kept.shape[1]
    good = (kept > GOOD_RECALL).sum(1, keepdim=True).clamp_max(heads // 2)
    place = kept.argsort(1, descending=True).argsort(1)
    best, worst = place < good, place >= heads - good
    given = min(density / 2, 1 - density)
    share = torch.full_like(kept, density, dtype=torch.float64)
    return share.masked_fill(best, density - given).masked_fill(worst, density + given)
