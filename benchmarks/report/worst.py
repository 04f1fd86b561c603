"""The worst case of each side: the take and the metric with its largest loss against the first side."""

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
    """Value of the first side in this take."""
    value: float
    """Value of this side."""
    loss: float
    """Loss in standard deviations of the metric over all clips, which makes metrics comparable."""


def worst_cases(comparison: Comparison) -> list[Worst]:
    """Return the largest loss of each side except the first; a side without losses has none."""
    sides = range(1, len(comparison.sides))
    found = (max(_losses(comparison, side), key=lambda loss: loss.loss, default=None) for side in sides)
    return [loss for loss in found if loss is not None]


def no_loss(comparison: Comparison) -> list[str]:
    """Return a sentence for each side without a worst case: it has no losses, or nothing could be compared."""
    base, cases = comparison.sides[0].name, {case.side for case in worst_cases(comparison)}
    sentences = []
    for side in range(1, len(comparison.sides)):
        name = comparison.sides[side].name
        if not any(_pairs(comparison, side)):
            sentences.append(f"{name}: nothing could be compared with {base} in a metric that has a better direction.")
        elif side not in cases:
            sentences.append(f"{name} does not lose against {base} in any metric or video that could be compared.")
    return sentences


def _losses(comparison: Comparison, side: int) -> Iterator[Worst]:
    for row, take, base, value in _pairs(comparison, side):
        spread, sign = _spread(row), 1 if row.better == "higher" else -1
        if spread and (loss := sign * (base - value) / spread) > 0:
            yield Worst(side=side, take=take, metric=row.metric, base=base, value=value, loss=loss)


def _pairs(comparison: Comparison, side: int) -> Iterator[tuple[Row, int, float, float]]:
    """Yield both sides' values of each metric that has a better direction; seconds are reported, not lost."""
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
