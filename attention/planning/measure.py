"""How much of the softmax a planner keeps in one call, and what that does to the output."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from torch import Tensor

from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import PlannerCall

ROUNDING = 1e-6
"""What rounding may take from a recall, or add to a density."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One planner in one call, against dense attention."""

    density: Tensor
    """Share of the token pairs that were computed, one number."""
    recall: Tensor
    """Share of the softmax in what was read exactly, ``[B, H]``, a mean over queries."""
    error: Tensor
    """Norm of what the output lacks as a share of the norm of the dense output, ``[B, H]``."""
    dense: Tensor
    """The dense output ``[B, H, N, D]``."""


@dataclass(frozen=True, kw_only=True)
class RecallRecorder(PlannerCall):
    """A place whose plans are judged."""

    whole: tuple[Tensor, Tensor]
    """The queries as the model gave them, and their log-sum-exp over all keys."""
    recalls: list[Tensor]
    """Recall ``[B, H]`` of each plan that was followed."""

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        """A query's share of the softmax is the quotient of two sums of exponentials: what is read over all."""
        kept = self.dense(q, k, v, plan=plan())[1]
        queries, whole = self.whole
        if q is not queries:
            whole = self.dense(q, k, v)[1]  # tokens in an order of the planner's own
        share = (kept - whole).exp().masked_fill(whole == float("-inf"), 1)
        self.recalls.append(share.mean(-1))


def measure(planner: Planner, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Measured:
    """Attend by ``planner`` and judge it.

    What the planner remembers is kept apart from what it remembers in the generation itself, and from what other
    settings of it remember.
    """
    run = here.per_run(RunRecord, "measured", planner)
    given = {field.name: getattr(here, field.name) for field in fields(PlannerCall)}
    given |= {"planner": planner, "call": replace(here.call, run=run)}
    dense, lse = here.dense(q, k, v)
    recorder = RecallRecorder(**given, whole=(q, lse), recalls=[])
    out, density = planner.attend(q, k, v, recorder)
    missing = (out.double() - dense.double()).flatten(2).norm(dim=-1)
    error = missing / dense.double().flatten(2).norm(dim=-1).clamp_min(1e-12)
    return Measured(density=density, recall=recorder.recalls[-1], error=error, dense=dense)


class UnreachableError(ValueError):
    """A recall that no allowed setting of a planner keeps."""


def reaching(
    planner: Planner, recall: float, max_density: float, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall
) -> Planner:
    """The sparsest setting of ``planner`` whose every head keeps ``recall`` of its softmax here.

    Raises:
        UnreachableError: none does with a density of at most ``max_density``.
    """
    best, densest = 0.0, 0.0
    for level in planner.levels(recall):
        tried = planner.having(**level)
        found = measure(tried, q, k, v, here)
        recalls, _ = here.all_heads(found.recall)
        densities, _ = here.all_heads(found.density.expand_as(found.recall))
        density, least = float(densities.mean()), float(recalls.min())
        if density > max_density + ROUNDING:
            break
        if least >= recall - ROUNDING:
            here.call.run.measured(planner.name, "recall", found.recall)
            return tried
        best, densest = max(best, least), max(densest, density)
    raise UnreachableError(
        f"{planner.name}: recall={recall} cannot be kept in {here.call.model}.{here.call.layer} with at most "
        f"max_density={max_density} of the pairs; the best is {best:.3f} at density {densest:.3f}: lower recall, or "
        "raise max_density"
    )
