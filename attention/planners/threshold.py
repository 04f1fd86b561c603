"""Threshold attention as a planner: no plan, no state; see ``genkit.attention.operators.threshold``.

Source: "Sol-Attn", arXiv 2607.24027. With random queries and keys at the size of Wan at 480p (512 blocks of 64) it
reads 16, 7 and 3 % of the blocks exactly at ``tau`` 1, 1.5 and 2, as published. Different from the source:

- means are float32 (there bfloat16), which moves fewer than 1 in 1,000 blocks across the threshold at that size;
- blocks with text, padding included, are read exactly by all and read all exactly;
- ``first_frame`` is an addition, off by default: with it the first of 21 latent frames alone is 9.5 % of the blocks,
  and the densities above are 24, 16 and 12 %.
"""

from typing import Any, Protocol

from torch import Tensor

from genkit.attention.geometry.layout import Layout, TokenOrder, layout_of
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.threshold import threshold_attention, threshold_plan
from genkit.attention.planning.ordered import InOrder
from genkit.attention.planning.planner import Settings
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.shared import in_first_frame, spanned

ALL = -1000.0
"""Deviations above the mean from which every block is read exactly."""


class ThresholdSettings(Settings, Protocol):
    """Fields of ``genkit.Threshold`` that decide what is read."""

    @property
    def tau(self) -> float: ...
    @property
    def first_frame(self) -> bool | None: ...
    @property
    def order(self) -> TokenOrder: ...


class ThresholdPlanner(InOrder[ThresholdSettings]):
    """Blocks whose pooled score is above the threshold are read exactly, all others by their mean."""

    across_heads = False

    @property
    def layout(self) -> Layout | None:
        """Token order of the ``order`` field."""
        return layout_of(self.settings.order)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"tau": tau} for tau in (2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, ALL))

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Attend; a call that hides frames is planned and computed without the tail."""
        if here.call.visible is not None:
            plan = self.plan(q, k, here)
            here.call.run.note("threshold: in calls that hide frames, skipped blocks do not count by their means")
            return here.attend(q, k, v, plan), here.density(plan)
        if here.impl == "flex" or here.impl == "xformers":
            raise ValueError(
                f"impl={here.impl!r} cannot do this call: threshold attention has its own kernel; use impl='auto'"
            )
        out, exact = threshold_attention(
            q,
            k,
            v,
            block=here.block(self.settings.block),
            tau=self.settings.tau,
            scale=here.scale,
            sinks=self._sinks(here),
            valid=here.valid,
            impl=here.impl,
        )
        here.count_backend("threshold")
        here.on_plan(q, k, v, lambda: self.plan(q, k, here))
        return out, exact.double().mean() / exact.shape[-1]

    def plan(self, q: Tensor, k: Tensor, here: PlannerCall) -> BlockPlan:
        """Return the blocks that are read exactly, ``[B, H, blocks, blocks]``."""
        block, sinks = here.block(self.settings.block), self._sinks(here)
        return threshold_plan(q, k, block=block, tau=self.settings.tau, scale=here.scale, sinks=sinks, valid=here.valid)

    def _sinks(self, here: PlannerCall) -> Tensor:
        """Blocks with text or the first frame, bool ``[blocks]``."""
        return here.per_run(lambda: self._find_sinks(here).to(here.device), "sinks")

    def _find_sinks(self, here: PlannerCall) -> Tensor:
        grid, block = here.grid, here.block(self.settings.block)
        text = spanned(grid.others, block, -(-grid.tokens // block))
        first = here.reads_first_frame(self.settings.first_frame)
        return text | in_first_frame(grid, block, here.layout) if first else text
