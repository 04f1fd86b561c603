"""Threshold attention as a planner: no plan, no state; see ``genkit.attention.threshold``."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.attention.planners.kept import spanned
from genkit.attention.planners.rule import Here
from genkit.attention.threshold import threshold_attention, threshold_plan


@dataclass(frozen=True, kw_only=True)
class ThresholdPlanner:
    """Blocks whose pooled score stands out are read exactly, all others by their mean."""

    tau: float = 1.0
    """Deviations above the mean; 1 reads about 16 % of the blocks, 1.5 about 7 %."""
    block: int = 64
    """Tokens of a block."""
    first_frame: bool = True
    """Whether the first frame is read exactly by all and reads all exactly."""
    name: str = "threshold"

    def refusal(self, here: Here) -> str | None:
        """It applies to every call."""
        return None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Attend; a call whose frames are not all visible is planned and cut, without the tail."""
        sinks = here.shared(lambda: self._sinks(here).to(here.device), "sinks")
        if here.call.visible is not None:
            plan = threshold_plan(q, k, block=self.block, tau=self.tau, scale=here.scale, sinks=sinks, valid=here.valid)
            here.call.run.note("threshold: where frames are hidden, blocks left out are not counted by their means")
            return here.attend(q, k, v, plan), here.density(plan)
        impl = here.impl if here.impl in ("auto", "triton", "reference") else "auto"
        out, exact = threshold_attention(
            q, k, v, block=self.block, tau=self.tau, scale=here.scale, sinks=sinks, valid=here.valid, impl=impl
        )
        here.call.run.ran("threshold")
        return out, exact.double().mean() / exact.shape[-1]

    def _sinks(self, here: Here) -> Tensor:
        grid, blocks = here.grid, -(-here.grid.tokens // self.block)
        sinks = spanned(grid.text, self.block, blocks) if grid.text_tokens else torch.zeros(blocks, dtype=torch.bool)
        if self.first_frame:
            begin = grid.video.start
            sinks |= spanned(slice(begin, begin + grid.tokens_per_frame), self.block, blocks)
        return sinks
