"""Statistics of measurements: sufficient statistics, their aggregates, and intervals.

A measurement is a sum and a weight, not a mean: every aggregate can be computed from such pairs, in any order, from any
number of processes. Videos of one prompt resemble one another, so the prompts are counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genkit.benchmarks.evaluate import intervals
from genkit.benchmarks.evaluate.intervals import Ends, Totals
from genkit.benchmarks.evaluate.sign_flips import MIN_PAIRS
from genkit.errors import UsageError

DRAWS = 2000
"""Resamples of a bootstrap."""

Aggregate = Literal["videos", "pooled"]
"""``videos``: the mean of the videos' own values. ``pooled``: all sums over all weights, so that long videos count
more."""


Bounds = tuple[float | None, float | None]
"""The minimum and the maximum of one video's value; None where there is no limit."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """Rule by which the measurements of many videos become one number."""

    how: Aggregate = "videos"
    """Average of the videos' values, or of all sums over all weights."""
    scale: float = 1.0
    """Factor applied to the average; positive."""
    bounds: Bounds | None = None
    """Range of one video's value before scaling; None if unknown."""

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> "Reduction":
        """Read the reduction of a metric from JSON results, which have no tuples; older results contain none."""
        found = dict(about.get("reduction", {}))
        bounds = found.pop("bounds", None)
        return cls(**found, bounds=bounds and (bounds[0], bounds[1]))


UNIT = Reduction(bounds=(0.0, 1.0))
"""For a metric in [0, 1]."""
FROM_ZERO = Reduction(bounds=(0.0, None))
"""For a metric of 0 or more."""


@dataclass(frozen=True)
class Stat:
    """The measurement of one metric on one video; its value is ``sum / weight``."""

    sum: float
    weight: float
    """Number of measured pairs, frames or windows; 0 if there was nothing to measure."""
    curve: tuple[float, ...] = ()
    """The value along the video, if the metric has one."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.sum, self.weight, *self.curve))) or self.weight < 0:
            raise UsageError(f"a measurement must be finite, its weight 0 or more, not {self.sum}/{self.weight}")

    @classmethod
    def of_curve(cls, curve: NDArray[np.floating] | Sequence[float]) -> "Stat":
        """Return the mean along a video, with the curve itself."""
        values = tuple(float(value) for value in curve)
        return cls(math.fsum(values), float(len(values)), values)

    @property
    def value(self) -> float | None:
        """``sum / weight``, None for weight 0."""
        return self.sum / self.weight if self.weight else None

    @property
    def yes_or_no(self) -> bool:
        """True if it counts yes-or-no answers: its value is 0 or 1, or the mean of a curve of such values."""
        return self.value in (0.0, 1.0, None) or (bool(self.curve) and {*self.curve} <= {0.0, 1.0})


@dataclass(frozen=True)
class Estimate:
    """An aggregate with its interval."""

    value: float
    low: float | None
    """Lower end of an interval of at least 95 %; None with fewer than three prompts, and where all prompts have the
    same value of a measure without bounds: without spread nothing can be said about other prompts."""
    high: float | None
    """Upper end, None as ``low``."""
    videos: int
    """Number of videos with a value."""
    prompts: int
    """Number of prompts they belong to."""

    def scale(self, factor: float) -> "Estimate":
        """Return the same estimate in another unit; ``factor`` is positive."""
        low, high = (end if end is None else end * factor for end in (self.low, self.high))
        return replace(self, value=self.value * factor, low=low, high=high)


Samples = Mapping[str, Sequence[Stat]]
"""The measurements of one metric by prompt."""


def aggregate(stats: Sequence[Stat], how: Aggregate = "videos") -> float:
    """Return one number for many videos, without those of weight 0.

    Raises:
        UsageError: no video has a weight.
    """
    sums, weights = _totals({"": stats}, [""], how)
    return float(sums[0] / weights[0])


def estimate(samples: Samples, how: Aggregate = "videos", bounds: Bounds | None = None) -> Estimate:
    """Return the aggregate over all prompts with its interval, independent of the order of ``samples``.

    The interval stays within ``bounds``.

    Raises:
        UsageError: no video has a weight.
    """
    prompts = _with_weight(samples)
    totals = Totals(*_totals(samples, prompts, how))
    value = math.fsum(totals.sums) / math.fsum(totals.weights)
    low, high = _compute_ends(totals, value, _yes_or_no(bounds, samples, prompts=prompts), bounds)
    return Estimate(value, low, high, _count(samples, prompts), len(prompts))


def paired_difference(
    base: Samples, other: Samples, how: Aggregate = "videos", bounds: Bounds | None = None
) -> Estimate:
    """Return by how much ``other`` exceeds ``base`` on the prompts that both have.

    A prompt has the same weight in both, from the videos of both, so that its difficulty cancels out even if the runs
    have unequal numbers of its videos. ``bounds`` are those of one video; a difference stays within their distance.

    Raises:
        UsageError: no prompt has a measurement in both.
    """
    prompts = _in_both(base, other)
    left, right = _equalise(base, other, prompts, how)
    value = right.value() - left.value()
    if _yes_or_no(bounds, base, other, prompts=prompts):
        ends = intervals.of_share_difference(left, right)
    else:
        ends = intervals.of_measurements(left, right, draws=DRAWS)
        if ends[0] is None and len(prompts) >= MIN_PAIRS and not _is_zero(value, left):
            ends = (value, value)  # every prompt changed equally, which sign flips show is not chance
    minimum, maximum = bounds or (None, None)
    if minimum is not None and maximum is not None:
        ends = _clip(ends, value, (minimum - maximum, maximum - minimum))
    low, high = ends
    return Estimate(value, low, high, _count(other, prompts), len(prompts))


def paired_changes(base: Samples, other: Samples, how: Aggregate = "videos") -> dict[str, float]:
    """Return each shared prompt's part in the difference, up to a common factor; swapping the runs flips signs.

    Raises:
        UsageError: no prompt has a measurement in both.
    """
    prompts = _in_both(base, other)
    left, right = _equalise(base, other, prompts, how)
    changes = (right.sums / right.weights - left.sums / left.weights) * left.weights
    return dict(zip(prompts, changes.tolist(), strict=True))


def _equalise(base: Samples, other: Samples, prompts: Sequence[str], how: Aggregate) -> tuple[Totals, Totals]:
    """Return both runs with the same weight of each prompt."""
    (sums, weights), (sums2, weights2) = _totals(base, prompts, how), _totals(other, prompts, how)
    shared = (weights + weights2) / 2
    return Totals(sums / weights * shared, shared), Totals(sums2 / weights2 * shared, shared)


def _compute_ends(totals: Totals, value: float, yes_or_no: bool, bounds: Bounds | None) -> Ends:
    """Compute the interval from answers, from measurements, or from both if the range is known."""
    low, high = bounds or ((0.0, 1.0) if yes_or_no else (None, None))
    found = intervals.NO_ENDS if yes_or_no else intervals.of_measurements(totals, draws=DRAWS)
    if low is None or high is None:
        return _clip(found, value, (low, high))
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    minimum, maximum = intervals.of_share(share, totals)
    if minimum is None or maximum is None:
        return _clip(found, value, (low, high))
    minimum, maximum = low + (high - low) * minimum, low + (high - low) * maximum
    if found[0] is None or found[1] is None:
        return minimum, maximum
    return max(minimum, found[0]), min(maximum, found[1])


def _clip(ends: Ends, value: float, bounds: Bounds) -> Ends:
    """Clip the ends to the bounds; a value that rounding puts beyond a bound stays inside its interval."""
    low, high = ends
    if low is None or high is None:
        return ends
    minimum, maximum = bounds
    low = low if minimum is None else max(low, min(minimum, value))
    return low, high if maximum is None else min(high, max(maximum, value))


def _yes_or_no(bounds: Bounds | None, *runs: Samples, prompts: Sequence[str]) -> bool:
    """Return True if all are answers; other measurements are not, even if all are 0 or 1 by chance."""
    if bounds not in (None, UNIT.bounds):
        return False
    return all(stat.yes_or_no for samples in runs for prompt in prompts for stat in samples[prompt])


def _is_zero(value: float, totals: Totals) -> bool:
    """Return True if a difference is zero up to rounding."""
    return abs(value) <= 1e-12 * max(1e-300, float(np.abs(totals.sums / totals.weights).max()))


def _count(samples: Samples, prompts: Sequence[str]) -> int:
    return sum(bool(stat.weight) for prompt in prompts for stat in samples[prompt])


def _in_both(base: Samples, other: Samples) -> list[str]:
    prompts = [prompt for prompt in _with_weight(base) if any(stat.weight for stat in other.get(prompt, ()))]
    if not prompts:
        raise UsageError("no prompt was measured in both runs; a paired comparison needs the same prompts")
    return prompts


def _with_weight(samples: Samples) -> list[str]:
    prompts = sorted(prompt for prompt, stats in samples.items() if any(stat.weight for stat in stats))
    if not prompts:
        raise UsageError("nothing was measured: no video has a value")
    return prompts


def _totals(
    samples: Samples, prompts: Sequence[str], how: Aggregate
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sum and weight of every prompt, exactly rounded, so that the order of its videos does not matter."""
    if how not in ("videos", "pooled"):
        raise UsageError(f"an aggregate is 'videos' or 'pooled', not {how!r}")
    valid = [[stat for stat in samples[prompt] if stat.weight] for prompt in prompts]
    if not any(valid):
        raise UsageError("nothing was measured: no video has a value")
    if how == "videos":
        valid = [[Stat(stat.sum / stat.weight, 1.0) for stat in stats] for stats in valid]
    sums = np.array([math.fsum(stat.sum for stat in stats) for stats in valid])
    weights = np.array([math.fsum(stat.weight for stat in stats) for stats in valid])
    return sums, weights
