"""Radial attention as a planner."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planners.radial_mask import BlockRule, radial_plan
from genkit.attention.planning.planner import MethodPlanner, Settings
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.shared import DENSITIES, default_block

PAPER_DECAY = 1.0
"""Width of the bands in the paper."""


@dataclass
class _Last:
    """Density for the most recent set of visible frames; counting it in every layer would be too expensive."""

    visible: Tensor | None = None
    density: Tensor | None = None


class RadialSettings(Settings, Protocol):
    """Fields of ``genkit.Radial`` that decide what is read."""

    @property
    def density(self) -> float | None: ...
    @property
    def decay(self) -> float | None: ...
    @property
    def first_frame(self) -> bool | None: ...
    @property
    def rule(self) -> BlockRule: ...


class RadialPlanner(MethodPlanner[RadialSettings]):
    """Static mask of the grid, the same for every layer, head and step; see ``radial_mask``."""

    across_heads = False

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"density": density} for density in DENSITIES)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Attend by the mask, which is computed once per generation and grid."""
        plan = here.per_run(lambda: self._plan(here), "plan")
        last = here.per_run(_Last, "density")
        if last.density is None or last.visible is not here.call.visible:
            last.visible, last.density = here.call.visible, here.density(plan)
        return here.attend(q, k, v, plan), last.density

    def _plan(self, here: PlannerCall) -> BlockPlan:
        density, decay = self.settings.density, self.settings.decay
        plan = radial_plan(
            here.grid,
            block=self.settings.block or default_block(here.grid),
            decay=(PAPER_DECAY if decay is None else decay) if density is None else None,
            density=density,
            sink=here.reads_first_frame(self.settings.first_frame),
            rule=self.settings.rule,
        )
        if plan.note:
            here.call.run.note(plan.note)
        return plan.to(here.device)
