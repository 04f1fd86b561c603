"""Planners that reorder the tokens in a static order."""

from abc import abstractmethod

from torch import Tensor

from genkit.attention.planning.planner import MethodPlanner, S
from genkit.attention.planning.planner_call import Attended, PlannerCall


class InOrder(MethodPlanner[S]):
    """Planner that attends to tokens in the order of ``layout``."""

    @abstractmethod
    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return what ``Planner.attend`` does, for tokens in that order."""

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse calls that hide frames if the order mixes frames."""
        if here.call.visible is None or self.layout is None or not self.layout.mixes_frames:
            return None
        return "it orders tokens across frames and cannot hide frames"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Reorder the tokens, attend, and restore their order."""
        return here.in_order(self.layout, q, k, v, self.attend_ordered)
