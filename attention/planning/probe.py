"""Measures what a planner would leave out, at several settings at once, in a run that stays dense."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.call import Step
from genkit.attention.calls.dense import dense
from genkit.attention.planning.measure import measure
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import Attended, PlannerCall
from genkit.attention.planning.stand_in import StandIn


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one setting of a planner would have done in one attention call, for one guidance branch."""

    layer: str
    """Component and attention module: ``transformer.blocks.3.attn1``."""
    step: int
    """Solver step, 0 first."""
    branch: str
    """Guidance branch, such as ``cond``."""
    level: int
    """Number of the setting, 0 is the sparsest."""
    density: float
    """Share of the token pairs that the call would have computed."""
    recall: tuple[float, ...]
    """Share of the softmax that each head would have kept; the least of several videos in a batch."""
    error: tuple[float, ...]
    """Norm of what the output of each head would have lacked, as a share of the dense output's; the greatest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbingPlanner(StandIn):
    """A planner that measures another in every call and then attends to everything, so that nothing drifts."""

    settings: tuple[dict[str, Any], ...]
    """Fields of the planner to try, from sparse to dense."""
    found: list[tuple[str, Step, int, Tensor]] = field(default_factory=list, repr=False)
    """Layers, steps, numbers of settings and what was measured: density, recall and error ``[3, B, H]``."""

    @cached_property
    def _tried(self) -> list[Planner]:
        """The planner at each setting."""
        return [self.planner.having(**setting) for setting in self.settings]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Measure every setting; the output is the dense one, bit for bit."""
        for level, tried in enumerate(self._tried):
            seen = measure(tried, q, k, v, here)
            numbers = (seen.density.expand_as(seen.recall), seen.recall, seen.error)
            where = f"{here.call.model}.{here.call.layer}"
            self.found.append((where, here.call.step, level, torch.stack([number.double() for number in numbers])))
        return dense(q, k, v, here.call), torch.ones(())

    def samples(self) -> Iterator[Sample]:
        """Everything that was measured so far, in the order of the calls; a GPU is waited for here only."""
        for layer, step, level, numbers in self.found:
            parts = numbers.cpu().chunk(len(step.branches), 1)
            for branch, (density, recall, error) in zip(step.branches, parts, strict=True):
                yield Sample(
                    layer=layer,
                    step=step.index,
                    branch=branch,
                    level=level,
                    density=float(density[0, 0]),
                    recall=tuple(recall.amin(0).tolist()),
                    error=tuple(error.amax(0).tolist()),
                )
