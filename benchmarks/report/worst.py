"""The worst case of each side: the take and the metric in which it loses most against the first side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.report.findings import Comparison, Row


@dataclass(frozen=True, kw_only=True)
class Worst:
    """One loss of one side."""

    side: int
    take: int
    metric: str
    base: float
    """What the first side has in this take."""
    value: float
    """What this side has."""
    loss: float
    """How much worse, in standard deviations of the metric over all clips; metrics become comparable by it."""


def worst_cases(comparison: Comparison) -> list[Worst]:
    """The largest loss of each side but the first; a side that loses nowhere has none."""
    sides = range(1, len(comparison.sides))
    found = (max(_losses(comparison, side), key=lambda loss: loss.loss, default=None) for side in sides)
    return [loss for loss in found if loss is not None]


def no_loss(comparison: Comparison) -> list[str]:
    """A sentence for each side without a worst case: it loses nowhere, or nothing could be compared."""
    base, cases = comparison.sides[0].name, {case.side for case in worst_cases(comparison)}
    told = []
    for side in range(1, len(comparison.sides)):
        name = comparison.sides[side].name
        if not any(_pairs(comparison, side)):
            told.append(f"{name}: nothing could be compared with {base} by a metric of which high or low is better.")
        elif side not in cases:
            told.append(f"{name} loses against {base} in no metric and no video that could be compared.")
    return told


def _losses(comparison: Comparison, side: int) -> Iterator[Worst]:
    for row, take, base, value in _pairs(comparison, side):
        spread, sign = _spread(row), 1 if row.better == "higher" else -1
        if spread and (loss := sign * (base - value) / spread) > 0:
            yield Worst(side=side, take=take, metric=row.metric, base=base, value=value, loss=loss)


def _pairs(comparison: Comparison, side: int) -> Iterator[tuple[Row, int, float, float]]:
    """What both sides have of each metric that can be lost in; seconds are told, but are no loss of a video."""
    for row in comparison.rows:
        if row.better == "neither" or row.metric.startswith("cost."):
            continue
        pairs = zip(_values(row.scores[0].cells), _values(row.scores[side].cells), strict=False)
        for take, (base, value) in enumerate(pairs):
            if base is not None and value is not None:
                yield row, take, base, value


def _values(cells: Sequence[Stat | str]) -> list[float | None]:
    return [cell.value if isinstance(cell, Stat) else None for cell in cells]


def _spread(row: Row) -> float:
    values = [value for score in row.scores for value in _values(score.cells) if value is not None]
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
