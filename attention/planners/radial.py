"""Radial attention as a planner."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planners.radial_mask import BlockRule, radial_plan
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.shared import DENSITIES, default_block


@dataclass
class _Last:
    """The density for the frames that were visible last; counting it for every layer would cost more than it tells."""

    visible: Tensor | None = None
    density: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class RadialPlanner:
    """The static mask of the grid, the same for every layer, head and step; see ``radial_mask``."""

    density: float | None = None
    """Share of the token pairs to execute, in (0, 1]; None follows ``decay``."""
    decay: float = 1.0
    """Width of the bands, 1 is the paper's; without effect when ``density`` is given."""
    block: int | None = None
    """Tokens of a block; None is ``default_block``."""
    sink: bool | None = None
    """Whether every query reads the first frame; None is yes without text in the sequence."""
    block_rule: BlockRule = "corrected"
    """How tokens become blocks."""
    name: str = "radial"
    across_heads = False

    def refusal(self, here: PlannerCall) -> str | None:
        """It applies to every call."""
        return None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"density": density} for density in DENSITIES)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Attention by the mask, which is made once a generation and grid."""
        plan = here.per_run(lambda: self._plan(here), "plan")
        last = here.per_run(_Last, "density")
        if last.density is None or last.visible is not here.call.visible:
            last.visible, last.density = here.call.visible, here.density(plan)
        return here.attend(q, k, v, plan), last.density

    def _plan(self, here: PlannerCall) -> BlockPlan:
        plan = radial_plan(
            here.grid,
            block=self.block or default_block(here.grid),
            decay=self.decay if self.density is None else None,
            density=self.density,
            sink=self.sink,
            rule=self.block_rule,
        )
        if plan.note:
            here.call.run.note(plan.note)
        return plan.to(here.device)
