"""A planner that replaces another one in runs that only query or measure that one."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from genkit.attention.geometry.layout import Layout
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import Attended, PlannerCall


@dataclass(frozen=True, kw_only=True, eq=False)
class StandIn(ABC):
    """Planner with the refusals of ``planner`` and its own attention, on tokens frame by frame."""

    planner: Planner

    @property
    def name(self) -> str:
        """Name of the replaced planner."""
        return self.planner.name

    @property
    def across_heads(self) -> bool:
        """As the replaced planner."""
        return self.planner.across_heads

    @property
    def layout(self) -> Layout | None:
        """Frame by frame, as without the planner."""
        return None

    def refusal(self, here: PlannerCall) -> str | None:
        """Return the planner's reason to run this call dense, or None."""
        return self.planner.refusal(here)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return the planner's levels."""
        return self.planner.levels(recall)

    def having(self, **fields: Any) -> Self:
        """Return the same for the planner with some fields replaced."""
        return replace(self, planner=self.planner.having(**fields))

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return the output and its density."""
