"""Which setting of a planner each layer gets, from what a probe measured of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from genkit.attention.planning.measure import ROUNDING


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one setting did in one layer, over all heads, guidance branches, steps and prompts."""

    level: int
    """Number of the setting."""
    density: float
    """Mean share of the token pairs."""
    recall: float
    """Least share of a head's softmax that was kept."""
    error: float
    """Greatest relative error of a head's output."""


def worthwhile(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that no sparser one matches, from sparse to dense; the last has the greatest recall of all."""
    kept: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda outcome: (outcome.density, -outcome.recall)):
        if not kept or outcome.recall > kept[-1].recall:
            kept.append(outcome)
    return kept


def by_recall(layers: Mapping[str, Sequence[Outcome]], recall: float) -> dict[str, Outcome]:
    """The sparsest outcome of each layer that keeps ``recall``; where none does, the one that keeps most."""
    chosen = {}
    for layer, outcomes in layers.items():
        steps = worthwhile(outcomes)
        chosen[layer] = next((step for step in steps if step.recall >= recall - ROUNDING), steps[-1])
    return chosen


def by_density(layers: Mapping[str, Sequence[Outcome]], density: float) -> dict[str, Outcome]:
    """Outcomes whose mean density is at most ``density``, chosen so that the least recall is as great as can be.

    Every layer begins at its sparsest outcome, and the layer that keeps least takes its next one as long as the mean
    allows. No better least recall can exist: to raise it, that layer has to take that step, and all others stand at
    the sparsest outcome that keeps as much. What is left then goes to the layer that keeps least of the others. Where
    even the sparsest outcomes are denser than ``density``, they are the answer.
    """
    left = {layer: worthwhile(outcomes) for layer, outcomes in layers.items()}
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
    """The mean over layers."""
    densities = [outcome.density for outcome in outcomes]
    return math.fsum(densities) / len(densities)
