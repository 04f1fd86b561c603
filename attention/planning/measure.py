"""Recall and output error of a planner in one call."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from torch import Tensor

from genkit.attention.calls.keys_only import share_of_queries
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import PlannerCall

ROUNDING = 1e-6
"""Rounding error allowed in a recall or density."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One planner in one call, compared with dense attention."""

    density: Tensor
    """Share of the token pairs that were computed, a scalar."""
    recall: Tensor
    """Share of the softmax mass in the blocks that were read, ``[B, H]``, mean over queries."""
    error: Tensor
    """Relative error of the output, ``[B, H]``: norm of the difference over norm of the dense output."""
    dense: Tensor
    """Dense output ``[B, H, N, D]``."""


@dataclass(frozen=True, kw_only=True)
class RecallRecorder(PlannerCall):
    """Context of a planner that records the recall of each executed plan."""

    whole: tuple[Tensor, Tensor]
    """Queries in the model's order, and their log-sum-exp over all keys."""
    recalls: list[Tensor]
    """Recall ``[B, H]`` of each executed plan."""

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        """Append the recall of a plan: per query, the exponentials summed over what is read, over the sum of all."""
        kept = self.dense(q, k, v, plan=plan())[1]
        queries, whole = self.whole
        if q is not queries:
            whole = self.dense(q, k, v)[1]  # the planner reordered the tokens
        share = (kept - whole).exp().masked_fill(whole == float("-inf"), 1)
        self.recalls.append(share.mean(-1))


def measure(planner: Planner, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Measured:
    """Attend by ``planner`` and compare with dense attention.

    The planner's state is separate from that in the generation itself and from that of its other settings.
    """
    run = here.per_run(RunRecord, "measured", planner)
    given = {field.name: getattr(here, field.name) for field in fields(PlannerCall)}
    given |= {"planner": planner, "call": replace(here.call, run=run)}
    dense, lse = here.dense(q, k, v)
    recorder = RecallRecorder(**given, whole=(q, lse), recalls=[])
    out, density = planner.attend(q, k, v, recorder)
    own, exact = (x[:, :, here.grid.keys_only :].double() for x in (out, dense))
    error = (own - exact).flatten(2).norm(dim=-1) / exact.flatten(2).norm(dim=-1).clamp_min(1e-12)
    density, recall = (share_of_queries(share, here.grid) for share in (density, recorder.recalls[-1]))
    return Measured(density=density, recall=recall, error=error, dense=dense)


class UnreachableError(ValueError):
    """No allowed setting of a planner reaches the requested recall."""


def reaching(
    planner: Planner, recall: float, max_density: float, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall
) -> Planner:
    """Return the sparsest setting of ``planner`` at which every head of this call reaches ``recall``.

    Raises:
        UnreachableError: none reaches it with a density of at most ``max_density``.
    """
    best, densest = 0.0, 0.0
    for level in planner.levels(recall):
        tried = planner.having(**level)
        found = measure(tried, q, k, v, here)
        recalls, _ = here.all_heads(found.recall)
        densities, _ = here.all_heads(found.density.expand_as(found.recall))
        density, lowest = float(densities.mean()), float(recalls.min())
        if density > max_density + ROUNDING:
            break
        if lowest >= recall - ROUNDING:
            here.call.run.measured(planner.name, "recall", found.recall)
            return tried
        best, densest = max(best, lowest), max(densest, density)
    raise UnreachableError(
        f"{planner.name}: recall={recall} cannot be reached in {here.call.model}.{here.call.layer} with at most "
        f"max_density={max_density} of the pairs; the best is {best:.3f} at density {densest:.3f}: lower recall, or "
        "raise max_density"
    )
