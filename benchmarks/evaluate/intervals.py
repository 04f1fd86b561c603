"""Intervals of an average over prompts that reach their nominal coverage from three prompts up.

The unit is a prompt: what its videos have in common says nothing about other prompts. Three kinds of data:

- measurements: Student's t on each prompt's contribution to the average, joined with the bootstrap-t, which accounts
  for the skewness that t ignores; both at the level of ``outside``, because a few values of a skewed distribution do
  not reveal its skewness. Clipped to the range of the metric, if it has one, by the interval of shares.
- shares of yes-or-no answers: Clopper and Pearson's exact interval on the number of prompts, whatever the number of
  videos; its width is never zero. Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934).
- differences of shares: t after adding one prompt that gained and one that lost. Source: A. Agresti, Y. Min,
  Statistics in Medicine 24 (2005).

``tests/benchmarks/evaluate/test_intervals.py`` simulates all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from genkit.benchmarks.evaluate.quantiles import beta_quantile, student_quantile

COVERAGE = 0.95
"""Minimum share of intervals that contain the true value."""
MIN_PROMPTS = 3
"""With fewer prompts there is no interval."""
ELEMENTS = 4_000_000
"""Numbers resampled at a time."""

Ends = tuple[float, float] | tuple[None, None]
NO_ENDS: Ends = (None, None)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Totals:
    """Sum and weight of every prompt, ``[prompts]`` each, in one run."""

    sums: Floats
    weights: Floats

    def value(self) -> float:
        """Return all sums over all weights."""
        return float(self.sums.sum() / self.weights.sum())


def outside(prompts: float) -> float:
    """Return the share of t and of the bootstrap that is cut off: 0.01 up to 40 prompts, rising to 0.05 at 200."""
    return min(1 - COVERAGE, max(0.01, prompts / 4000))


def effective(*runs: Totals) -> float:
    """Return the number of prompts of equal weight that would be as informative."""
    return min(float(run.weights.sum() ** 2 / (run.weights**2).sum()) for run in runs)


def of_measurements(*runs: Totals, draws: int) -> Ends:
    """Return the interval of one run's value, or of second minus first run, from ``draws`` resamples."""
    count, prompts = effective(*runs), len(runs[0].sums)
    if prompts < MIN_PROMPTS or count < 2:
        return NO_ENDS
    values, errors = _values_and_errors(runs, np.arange(prompts)[None])
    value, error = float(values[0]), float(errors[0])
    if not error > _rounding(runs):
        return NO_ENDS
    cut = outside(count)
    below = above = student_quantile(cut, count - 1) * error
    pivots = _pivots(runs, value, draws)
    if len(pivots):
        low, high = np.quantile(pivots, [cut / 2, 1 - cut / 2])
        below, above = max(below, float(high) * error), max(above, -float(low) * error)
    return value - below, value + above


def of_share(value: float, run: Totals) -> Ends:
    """Return the interval of a share ``value`` in [0, 1]; whole videos and windows may make the hits a fraction."""
    if len(run.sums) < MIN_PROMPTS:
        return NO_ENDS
    prompts = effective(run)
    hits, tail = value * prompts, (1 - COVERAGE) / 2
    low = beta_quantile(tail, hits, prompts - hits + 1)
    high = beta_quantile(1 - tail, hits + 1, prompts - hits)
    return min(low, value), max(high, value)


def of_share_difference(base: Totals, other: Totals) -> Ends:
    """Return the interval of a difference of shares of the same prompts, in [-1, 1]."""
    count, prompts = effective(base, other), len(base.sums)
    if prompts < MIN_PROMPTS or count < 2:
        return NO_ENDS
    weights = (base.weights + other.weights) / (base.weights + other.weights).sum()
    changes = other.sums / other.weights - base.sums / base.weights
    more, total, squares = count + 2, count * float(weights @ changes), count * float(weights @ changes**2)
    half = student_quantile(outside(count), count + 1) * (squares + 2 - total**2 / more) ** 0.5 / more
    value = other.value() - base.value()
    return max(-1.0, min(value, total / more - half)), min(1.0, max(value, total / more + half))


def _rounding(runs: Sequence[Totals]) -> float:
    """Return the largest error that rounding alone explains; below it the prompts do not differ."""
    return 1e-12 * max(float(np.abs(run.sums / run.weights).max()) for run in runs)


def _values_and_errors(runs: Sequence[Totals], drawn: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return value and standard error for each row of ``drawn`` prompts ``[draws, prompts]``."""
    if all((run.weights == run.weights[0]).all() for run in runs):
        means = [run.sums / run.weights[0] for run in runs]
        return _means_and_errors(np.take(means[-1] - means[0] if len(runs) > 1 else means[0], drawn))
    return _weighted(runs, drawn)


def _means_and_errors(values: Floats) -> tuple[Floats, Floats]:
    """Return the ordinary mean of each row and its standard error."""
    count, means = values.shape[1], values.mean(1)
    apart = values - means[:, None]
    return means, np.sqrt(np.einsum("ij,ij->i", apart, apart) / (count * (count - 1)))


def _weighted(runs: Sequence[Totals], drawn: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return the same for prompts of different weight, each contribution corrected for its pull on the average.

    With equal weights this is the usual deviation over the root of the number.
    """
    value: Floats = np.zeros(len(drawn))
    added, pull = np.zeros(drawn.shape), np.zeros(drawn.shape)
    for sign, run in zip((1,) if len(runs) == 1 else (-1, 1), runs, strict=True):
        sums, weights = run.sums[drawn], run.weights[drawn]
        whole = weights.sum(1, keepdims=True)
        mean = sums.sum(1, keepdims=True) / whole
        value += sign * mean[:, 0]
        added += sign * (sums - mean * weights) / whole
        pull = np.maximum(pull, weights / whole)
    return value, np.sqrt((added**2 / np.maximum(1 - pull, 1e-9)).sum(1))


def _pivots(runs: Sequence[Totals], value: float, draws: int) -> Floats:
    """Return how many of their own standard errors the resamples are away from ``value``."""
    prompts, smallest, found = len(runs[0].sums), _rounding(runs), []
    rows = max(1, ELEMENTS // prompts)
    for part, done in enumerate(range(0, draws, rows)):
        values, errors = _values_and_errors(runs, _draw(prompts, min(rows, draws - done), part))
        usable = errors > smallest
        found.append((values[usable] - value) / errors[usable])
    return np.concatenate(found)


@lru_cache(maxsize=1)
def _draw(prompts: int, rows: int, part: int) -> NDArray[np.integer]:
    """Draw the prompts of one part of the resamples, ``[rows, prompts]``; always the same, so that reports repeat."""
    return np.random.default_rng(part).integers(prompts, size=(rows, prompts))
