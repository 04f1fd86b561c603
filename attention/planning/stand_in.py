"""A planner in the place of another, for runs in which that one is asked or measured and does not act."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

from torch import Tensor

from genkit.attention.geometry.layout import Layout
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import Attended, PlannerCall


@dataclass(frozen=True, kw_only=True, eq=False)
class StandIn(ABC):
    """A planner that refuses what ``planner`` refuses, and attends in a way of its own, to tokens frame by frame."""

    planner: Planner

    @property
    def name(self) -> str:
        """Name of the planner that it stands for."""
        return self.planner.name

    @property
    def across_heads(self) -> bool:
        """As the planner that it stands for."""
        return self.planner.across_heads

    @property
    def layout(self) -> Layout | None:
        """Frame by frame: the model runs as it does without the planner."""
        return None

    def refusal(self, here: PlannerCall) -> str | None:
        """Return the planner's reason to run this call dense, or None."""
        return self.planner.refusal(here)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return the planner's levels."""
        return self.planner.levels(recall)

    def having(self, **fields: Any) -> Self:
        """Return the same in the place of the planner with other values of some fields."""
        return replace(self, planner=self.planner.having(**fields))

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return an output, and the share of the token pairs that it took."""
