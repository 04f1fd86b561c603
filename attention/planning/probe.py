"""Measurement of a planner at several settings in one run that stays dense."""

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
    """Measurement of one setting of a planner in one attention call, for one guidance branch."""

    layer: str
    """Component and attention module: ``transformer.blocks.3.attn1``."""
    step: int
    """Solver step, from 0."""
    branch: str
    """Guidance branch, such as ``cond``."""
    level: int
    """Index of the setting; 0 is the sparsest."""
    density: float
    """Density of the call at this setting."""
    recall: tuple[float, ...]
    """Recall of each head; the min over the videos of a batch."""
    error: tuple[float, ...]
    """Relative error of each head's output; the max over the videos of a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbingPlanner(StandIn):
    """Planner that measures another one in every call and returns dense attention, so that errors do not accumulate."""

    settings: tuple[dict[str, Any], ...]
    """Fields of the planner to try, from sparse to dense."""
    found: list[tuple[str, Step, int, Tensor]] = field(default_factory=list, repr=False)
    """Layer, step, index of the setting and measurements (density, recall and error ``[3, B, H]``) of each call."""

    @cached_property
    def _tried(self) -> list[Planner]:
        """Planner at each setting."""
        return [self.planner.having(**setting) for setting in self.settings]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Measure every setting and return the dense output, bit for bit."""
        for level, tried in enumerate(self._tried):
            seen = measure(tried, q, k, v, here)
            numbers = (seen.density.expand_as(seen.recall), seen.recall, seen.error)
            where = f"{here.call.model}.{here.call.layer}"
            self.found.append((where, here.call.step, level, torch.stack([number.double() for number in numbers])))
        return dense(q, k, v, here.call), torch.ones(())

    def samples(self) -> Iterator[Sample]:
        """Yield all measurements so far, in the order of the calls; only this synchronises with a GPU."""
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
