"""Timing of one planner in one attention call past its warm-up: its own time apart from that of its attention."""

import statistics
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import Impl
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.rule import SparseRule
from genkit.benchmarks.timing.machine import Laps, Timing, elapsed, measure, timing_of
from genkit.benchmarks.timing.real_models import MODELS, RealModel
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.contract import Plugin, Target

STEP = Step(index=30, total=50, sigma=0.5)
"""Step of the call: after every planner's warm-up."""
DEPTH = 10
"""Index of the layer."""
FRESH = 3
"""Number of timed calls that each begin a generation."""


@dataclass(frozen=True, kw_only=True)
class TimedCall(PlannerCall):
    """Context of one attention call with a stopwatch on the attention over the chosen blocks."""

    laps: Laps

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, *, tail: bool = False) -> Tensor:
        """Attend as ``PlannerCall.attend`` does, on the stopwatch."""
        with self.laps.lap():
            return super().attend(q, k, v, plan, tail=tail)


@dataclass(frozen=True, kw_only=True)
class PlannerTime:
    """Durations of one planner."""

    whole: Timing
    """Planning and attention, in the middle of a generation."""
    fresh: Timing
    """The same in the first sparse call of a generation, where static masks are built and searches done."""
    attention_ms: float
    """The attention alone; all of ``whole`` if the planner works inside its kernel."""
    inside: bool
    """True if the planner works inside its kernel, so that its time cannot be separated."""
    density: float
    """Share of the query-key pairs that were computed."""
    impl: str
    """Implementation that ran."""
    notes: tuple[str, ...]
    """Notes of the planner."""

    @property
    def planner_ms(self) -> float | None:
        """Planning in the middle of a generation; None inside the kernel."""
        return None if self.inside else max(0.0, self.whole.ms - self.attention_ms)

    @property
    def planner_first_ms(self) -> float | None:
        """Planning in the first sparse call of a generation; None inside the kernel."""
        return None if self.inside else max(0.0, self.fresh.ms - self.attention_ms)

    def parts(self) -> dict[str, Any]:
        """Return the fields of a row beside ``whole``."""
        return {
            "density": self.density,
            "impl": self.impl,
            "notes": list(self.notes),
            "attention_ms": self.attention_ms,
            "planner_ms": self.planner_ms,
            "planner_first_ms": self.planner_first_ms,
            "planner_inside": self.inside,
        }


def sparse_rule(text: str, model: RealModel) -> SparseRule:
    """Return the planner rule of a plug-in such as ``"radial:density=0.3"``.

    Raises:
        UsageError: no such plug-in, or one without a planner of fixed settings.
    """
    rule = _planner_of(catalogue.parse(text), _target(model))
    if rule is None:
        known = ", ".join(sparse_plugins())
        raise UsageError(f"{text!r} does not leave out blocks of attention, so it has no planner; known: {known}")
    if rule.recall is not None or rule.budget is not None:
        raise UsageError(f"{text!r} is set per layer during a generation; give a density here, or time a whole step")
    return rule


def sparse_plugins() -> list[str]:
    """Return the names of all plug-ins that have a planner with their defaults."""
    target, found = _target(MODELS["wan-1.3b-480p"]), []
    for name in catalogue.names():
        with suppress(UsageError):  # a plug-in may need a parameter; none with a planner does
            found += [name] if _planner_of(catalogue.parse(name), target) else []
    return found


def _planner_of(plugin: Plugin, target: Target) -> SparseRule | None:
    """Return the only rule of a plug-in, if it has a planner."""
    rules = plugin.parts(target).rules
    return rules[0] if len(rules) == 1 and isinstance(rules[0], SparseRule) else None


def _target(model: RealModel) -> Target:
    return Target(
        family=model.family,
        title=model.published.title,
        native_frames=model.grid.native_frames,
        kinds=frozenset(model.facts.layers),
    )


def time_planner(
    rule: SparseRule, model: RealModel, q: Tensor, k: Tensor, v: Tensor, *, impl: Impl, repeats: int
) -> PlannerTime | str:
    """Time a planner on ``[1, H, N, D]``, or return the reason it leaves this call dense.

    Args:
        rule: with the planner; its warm-up and minimum number of tokens are ignored.
        model: geometry of the call.
        q, k, v: the tensors.
        impl: of the attention; ``auto`` leaves it to the plug-in.
        repeats: timed calls.
    """
    laps = Laps(q.device)

    def here() -> TimedCall:
        return _here(rule, model, q, impl, laps)

    if reason := rule.planner.refusal(here()):
        return reason
    first = elapsed(lambda: rule.planner.attend(q, k, v, here()), q.device)  # compiles
    fresh = [elapsed(lambda: rule.planner.attend(q, k, v, here()), q.device) for _ in range(FRESH)]
    laps.ms()
    stay = here()
    densities: list[Tensor] = []
    whole = measure(lambda: densities.append(rule.planner.attend(q, k, v, stay)[1]), q.device, repeats)
    alone = laps.ms()[1:]
    return PlannerTime(
        whole=whole,
        fresh=timing_of(first, fresh),
        attention_ms=statistics.median(alone) if alone else whole.ms,
        inside=not alone,
        density=float(densities[-1]),
        impl=", ".join(sorted(stay.call.run.backends)),
        notes=tuple(stay.call.run.notes),
    )


def _here(rule: SparseRule, model: RealModel, q: Tensor, impl: Impl, laps: Laps) -> TimedCall:
    call = Call(layer="timed", depth=DEPTH, kind=model.kind, grid=model.grid, step=STEP, run=RunRecord())
    return TimedCall(
        planner=rule.planner,
        call=call,
        grid=model.grid,
        scale=q.shape[-1] ** -0.5,
        valid=None,
        impl=rule.impl if impl == "auto" else impl,
        device=q.device,
        laps=laps,
    )
