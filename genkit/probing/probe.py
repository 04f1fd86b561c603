"""`probe`: one short dense run that measures what a sparse plug-in would leave out, by layer and by head."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from genkit.attention.calls.call import Rule
from genkit.attention.planning.probe import ProbingPlanner, Sample
from genkit.attention.planning.rule import SparseRule
from genkit.errors import GenkitError, UsageError
from genkit.generation.events import OnEvent
from genkit.generation.handle import apply
from genkit.plugins.budget import Budget
from genkit.plugins.catalogue import text_of
from genkit.plugins.contract import Parts, Plugin, Target
from genkit.plugins.sparse.method import Sparse
from genkit.probing.level_choice import ROUNDING, Outcome, by_density, by_recall, mean_density
from genkit.record.receipt import Receipt

STEPS = 6
"""Solver steps of a probe."""
FACTS = {"model", "family", "pipeline", "device", "dtype", "frames", "height", "width", "fps", "arguments", "versions"}
"""Fields of the receipts that a budget stores about the measured runs."""
DIGITS = 6
"""Decimals of the numbers in a budget."""


@dataclass(frozen=True, kw_only=True)
class Probing:
    """A plug-in whose sparse attention is measured and not executed; everything else of it works as usual."""

    plugin: Plugin
    levels: tuple[dict[str, Any], ...] | None
    """Settings to measure, from sparse to dense; None is the method's own list."""
    measured: list[ProbingPlanner]
    """Receives the measuring planner, if the plug-in is a sparse one."""

    @property
    def name(self) -> str:
        """Name of the plug-in."""
        return self.plugin.name

    @property
    def claims(self) -> frozenset[str]:
        """Claims of the plug-in."""
        return self.plugin.claims

    def parts(self, target: Target) -> Parts:
        """Return the plug-in's parts, with the rule that would leave something out replaced."""
        parts = self.plugin.parts(target)
        return replace(parts, rules=[self._measuring(rule, target) for rule in parts.rules])

    def _measuring(self, rule: Rule, target: Target) -> Rule:
        if not isinstance(rule, SparseRule):
            return rule
        settings = rule.planner.levels() if self.levels is None else self._check(self.levels, target)
        planner = ProbingPlanner(planner=rule.planner, settings=settings)
        self.measured.append(planner)
        return replace(rule, planner=planner, recall=None, budget=None)

    def _check(self, levels: tuple[dict[str, Any], ...], target: Target) -> tuple[dict[str, Any], ...]:
        """Return requested levels completed by what the model decides; raise ``UsageError`` for an unknown field."""
        if not isinstance(self.plugin, Sparse):
            raise UsageError(
                f"{self.name} does not declare which parameters may differ between layers; leave levels out"
            )
        for level in levels:
            if unknown := level.keys() - self.plugin.layer_fields():
                raise UsageError(f"{self.name} has no parameter {min(unknown)!r}, which the level {level} sets")
        return tuple(self.plugin.in_layer(level, target) for level in levels)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Measurements of a sparse method."""

    method: str
    """Name of the sparse plug-in."""
    levels: tuple[dict[str, Any], ...]
    """The settings that were tried, from sparse to dense."""
    samples: tuple[Sample, ...]
    """One for each attention call, guidance branch and level."""
    steps: int
    """Solver steps of the runs."""
    facts: Mapping[str, Any]
    """Model, size, prompts, seeds, plug-ins and versions, as JSON values."""

    def outcomes(self) -> dict[str, tuple[Outcome, ...]]:
        """Return the effect of each level in each layer; layers in the order of the model."""
        found: dict[str, list[Outcome]] = defaultdict(list)
        for (layer, level), samples in self._grouped.items():
            found[layer].append(
                Outcome(
                    level=level,
                    density=sum(sample.density for sample in samples) / len(samples),
                    recall=min(min(sample.recall) for sample in samples),
                    error=max(max(sample.error) for sample in samples),
                )
            )
        return {layer: tuple(outcomes) for layer, outcomes in found.items()}

    def at(self, layer: str, level: int) -> list[Sample]:
        """Return the samples of one layer at one level."""
        return self._grouped[layer, level]

    def chosen(self, *, recall: float | None = None, density: float | None = None) -> dict[str, Outcome]:
        """Return the level of each layer.

        Args:
            recall: each layer gets the sparsest level whose recall, the minimum over heads, guidance branches, steps
                and prompts, is at least this, in (0, 1]; if there is none, the level of maximum recall.
            density: the mean over layers is at most this, in (0, 1], and the minimum recall is maximised. If even the
                sparsest levels are denser, those.

        Raises:
            UsageError: not exactly one of the two is given, or it is outside (0, 1].
        """
        check_target(recall, density)
        if recall is not None:
            return by_recall(self.outcomes(), recall)
        assert density is not None
        return by_density(self.outcomes(), density)

    def budget(self, *, recall: float | None = None, density: float | None = None) -> Budget:
        """Return the levels of ``chosen``, for ``Budget.save`` and the plug-in's ``budget``; arguments as there."""
        chosen = self.chosen(recall=recall, density=density)
        measured = {
            **self.facts,
            "target": {"density": density} if recall is None else {"recall": recall},
            "mean_density": round(mean_density(chosen.values()), DIGITS),
            "notes": missed_targets(chosen, recall=recall, density=density),
            "layers": {layer: self._by_head(layer, outcome) for layer, outcome in chosen.items()},
        }
        layers = {layer: self.levels[outcome.level] for layer, outcome in chosen.items()}
        return Budget(method=self.method, layers=layers, measured=measured)

    @cached_property
    def _grouped(self) -> dict[tuple[str, int], list[Sample]]:
        """Samples by layer and level, in their order of arrival."""
        found: dict[tuple[str, int], list[Sample]] = defaultdict(list)
        for sample in self.samples:
            found[sample.layer, sample.level].append(sample)
        return found

    def _by_head(self, layer: str, outcome: Outcome) -> dict[str, Any]:
        """Return the effect of one layer's level by head: the minimum recall and the maximum error."""
        samples = self.at(layer, outcome.level)
        heads = list(zip(*(sample.recall for sample in samples), strict=True))
        errors = list(zip(*(sample.error for sample in samples), strict=True))
        return {
            "density": round(outcome.density, DIGITS),
            "recall": [round(min(head), DIGITS) for head in heads],
            "error": [round(max(head), DIGITS) for head in errors],
        }


def probe(
    pipe: Any,
    *plugins: Plugin,
    prompt: str | Sequence[str],
    levels: Sequence[Mapping[str, Any]] | None = None,
    num_inference_steps: int | None = None,
    seed: int | None = None,
    on_event: OnEvent | None = None,
    **arguments: Any,
) -> Probe:
    """Measure how much of the softmax a sparse plug-in would keep, and the error of its output.

    The run is dense, bit for bit the same as without the sparse plug-in, so that one run is enough for all levels and
    errors do not propagate between layers. Calls that the plug-in runs dense by itself (``dense_steps``,
    ``dense_layers``, ``min_tokens``) are not measured. Its own ``recall`` or ``budget`` has no effect.

    Args:
        pipe: a pipeline, as for ``apply``.
        plugins: one sparse plug-in, and any others to use with it.
        prompt: a text, or several to measure one after the other.
        levels: settings of the method to measure, from sparse to dense; None is the method's own list.
        num_inference_steps: solver steps; None is 6.
        seed: of the noise, the same for every prompt; None or -1 draws one for each.
        on_event: as for ``Handle.generate``.
        arguments: further arguments of ``Handle.generate``.

    Raises:
        UsageError: not exactly one sparse plug-in, no prompt, a level that sets an unknown field, or nothing that the
            plug-in would run sparse.
        GenkitError: a measurement is NaN or infinite.
    """
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts:
        raise UsageError("there is no prompt to probe with; give at least one")
    steps = STEPS if num_inference_steps is None else num_inference_steps
    tried = None if levels is None else tuple(dict(level) for level in levels)
    measured: list[ProbingPlanner] = []
    wrapped: list[Any] = [Probing(plugin=plugin, levels=tried, measured=measured) for plugin in plugins]
    with apply(pipe, *wrapped) as handle:
        planner = _only(measured, plugins)
        videos = (
            handle.generate(text, num_inference_steps=steps, seed=seed, on_event=on_event, **arguments)
            for text in texts
        )
        receipts = [video.receipt for video in videos if video.receipt is not None]
    samples = tuple(planner.samples())
    if not samples:
        raise UsageError(_explain_no_samples(planner.name, receipts[0]))
    _check_finite(samples)
    facts = receipts[0].model_dump(mode="json", include=FACTS)
    facts |= {"prompts": texts, "seeds": [receipt.seed for receipt in receipts], "steps": steps}
    facts |= {"plugins": [text_of(plugin) for plugin in plugins]}
    return Probe(method=planner.name, levels=planner.settings, samples=samples, steps=steps, facts=facts)


def check_target(recall: float | None, density: float | None) -> None:
    """Raise ``UsageError`` unless exactly one target is given and it is in (0, 1]."""
    if (recall is None) == (density is None):
        raise UsageError(f"recall={recall} and density={density}: give exactly one of them as the target")
    for name, value in (("recall", recall), ("density", density)):
        if value is not None and not 0 < value <= 1:
            raise UsageError(f"{name}={value} must be in (0, 1]; 1 is everything")


def missed_targets(chosen: Mapping[str, Outcome], *, recall: float | None, density: float | None) -> list[str]:
    """Return which targets were missed, and where nothing is left out, as sentences."""
    return [*_beyond(chosen, recall, density), *_nothing_left_out(chosen, recall, density)]


def whole(chosen: Mapping[str, Outcome]) -> list[str]:
    """Return the layers whose level computes everything."""
    return [layer for layer, outcome in chosen.items() if outcome.density >= 1 - ROUNDING]


def _nothing_left_out(chosen: Mapping[str, Outcome], recall: float | None, density: float | None) -> list[str]:
    full = whole(chosen)
    if not full:
        return []
    asked = f"recall={recall}" if recall is not None else f"density={density}"
    if len(full) == len(chosen):
        return [
            f"nothing is left out: with {asked} all {len(full)} layers compute everything (density 1.000), so this "
            "budget saves nothing; ask for a lower recall, or for a density below 1"
        ]
    return [f"{len(full)} of {len(chosen)} layers leave nothing out with {asked}: {', '.join(full)}"]


def _beyond(chosen: Mapping[str, Outcome], recall: float | None, density: float | None) -> list[str]:
    if recall is not None:
        below = {layer: outcome for layer, outcome in chosen.items() if outcome.recall < recall - ROUNDING}
        best = ", ".join(f"{layer} ({outcome.recall:.3f})" for layer, outcome in below.items())
        found = f"{len(below)} of {len(chosen)} layers keep less than recall={recall} at every level and got their best"
        return [f"{found}: {best}"] if below else []
    mean = mean_density(chosen.values())
    if density is None or mean <= density + ROUNDING:
        return []
    return [f"density={density} cannot be reached: the sparsest levels come to {mean:.3f} on average"]


def _check_finite(samples: Sequence[Sample]) -> None:
    """Raise if a measurement is not finite: it could not be compared with a target."""
    for sample in samples:
        if not all(map(math.isfinite, (sample.density, *sample.recall, *sample.error))):
            raise GenkitError(
                f"the attention of {sample.layer} at step {sample.step + 1} is not finite, so nothing can be measured "
                "there; the usual cause is half precision: use bfloat16 or float32"
            )


def _only(measured: Sequence[ProbingPlanner], plugins: Iterable[Plugin]) -> ProbingPlanner:
    if len(measured) != 1:
        given = ", ".join(plugin.name for plugin in plugins) or "none"
        raise UsageError(
            f"a probe measures one plug-in that leaves out a part of the attention, such as threshold; given: {given}"
        )
    return measured[0]


def _explain_no_samples(name: str, receipt: Receipt) -> str:
    """Return the reason no attention call would have been sparse, as a sentence."""
    refusals = [refusal.reason for refusal in receipt.attention.refusals if refusal.plugin == name]
    reason = refusals[0] if refusals else "all steps and layers are dense; lower dense_steps or dense_layers"
    return f"{name} would run nothing sparse, so there is nothing to measure: {reason}"
