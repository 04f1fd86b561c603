"""The worst case of each side: the take and the metric in which it loses most against the first side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genkit.benchmarks.report_data import Comparison, Row
from genkit.benchmarks.stats import Stat


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


def _losses(comparison: Comparison, side: int) -> Iterator[Worst]:
    for row in comparison.rows:
        if row.better == "neither" or row.metric.startswith("cost.") or not row.scores[side].verdict:
            continue
        spread, sign = _spread(row), 1 if row.better == "higher" else -1
        for take, (base, value) in enumerate(_pairs(row, side)):
            if base is None or value is None or not spread:
                continue
            if (loss := sign * (base - value) / spread) > 0:
                yield Worst(side=side, take=take, metric=row.metric, base=base, value=value, loss=loss)


def _pairs(row: Row, side: int) -> list[tuple[float | None, float | None]]:
    return list(zip(_values(row.scores[0].cells), _values(row.scores[side].cells), strict=True))


def _values(cells: Sequence[Stat | str]) -> list[float | None]:
    return [cell.value if isinstance(cell, Stat) else None for cell in cells]


def _spread(row: Row) -> float:
    values = [value for score in row.scores for value in _values(score.cells) if value is not None]
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
