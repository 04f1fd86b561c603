"""Choice of a planner's setting for each layer, from the measurements of a probe."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from genkit.attention.planning.measure import ROUNDING


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Effect of one setting in one layer, over all heads, guidance branches, steps and prompts."""

    level: int
    """Number of the setting."""
    density: float
    """Mean share of the token pairs."""
    recall: float
    """Minimum share of a head's softmax that was kept."""
    error: float
    """Maximum relative error of a head's output."""


def pareto_front(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes that no sparser one matches, from sparse to dense; the last has the maximum recall."""
    kept: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.density, -outcome.recall)):
        if not kept or outcome.recall > kept[-1].recall:
            kept.append(outcome)
    return kept


def by_recall(layers: Mapping[str, Sequence[Outcome]], recall: float) -> dict[str, Outcome]:
    """Return the sparsest outcome of each layer with at least ``recall``; if there is none, that of maximum recall."""
    chosen = {}
    for layer, outcomes in layers.items():
        steps = pareto_front(outcomes)
        chosen[layer] = next((step for step in steps if step.recall >= recall - ROUNDING), steps[-1])
    return chosen


def by_density(layers: Mapping[str, Sequence[Outcome]], density: float) -> dict[str, Outcome]:
    """Return outcomes with a mean density of at most ``density`` that maximise the minimum recall over layers.

    Every layer begins at its sparsest outcome, and the layer with the lowest recall takes its next one as long as the
    mean allows. No better minimum recall can exist: to raise it, that layer has to take that step, and all others are
    at the sparsest outcome that keeps as much. The rest of the density then goes to the next layers in order of recall.
    If even the sparsest outcomes are denser than ``density``, they are returned.
    """
    left = {layer: pareto_front(outcomes) for layer, outcomes in layers.items()}
    chosen = {layer: steps.pop(0) for layer, steps in left.items()}
    while open_layers := [layer for layer, steps in left.items() if steps]:
        layer = min(open_layers, key=lambda layer: chosen[layer].recall)
        step = left[layer].pop(0)
        if mean_density((chosen | {layer: step}).values()) > density + ROUNDING:
            left[layer].clear()
        else:
            chosen[layer] = step
    return chosen


def mean_density(outcomes: Iterable[Outcome]) -> float:
    """Return the mean over layers."""
    densities = [outcome.density for outcome in outcomes]
    return math.fsum(densities) / len(densities)
