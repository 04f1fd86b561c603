"""Planners whose tokens come in a static order of their own."""

from abc import abstractmethod

from torch import Tensor

from genkit.attention.planning.planner import MethodPlanner, S
from genkit.attention.planning.planner_call import Attended, PlannerCall


class InOrder(MethodPlanner[S]):
    """A planner that attends to tokens in the order of ``layout``."""

    @abstractmethod
    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """``Planner.attend`` for tokens in that order."""

    def refusal(self, here: PlannerCall) -> str | None:
        """It applies to every call, unless frames are hidden from one another and its order mixes them."""
        if here.call.visible is None or self.layout is None or not self.layout.mixes_frames:
            return None
        return "it orders tokens across frames and cannot hide frames"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Put the tokens in order, attend, and put them back."""
        return here.in_order(self.layout, q, k, v, self.attend_ordered)
