"""From measurements to numbers that can be trusted: sufficient statistics, their aggregates, bootstrap intervals.

A measurement is a sum and a weight, not a mean: every aggregate can be made from such pairs, in any order, from any
number of processes. Videos of one prompt resemble one another, so whole prompts are drawn in the bootstrap.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genkit.errors import UsageError

DRAWS = 2000
"""Resamples of a bootstrap."""
COVERAGE = 0.95
"""Share of the resamples that an interval holds."""

Aggregate = Literal["videos", "pooled"]
"""``videos``: the mean of the videos' own values. ``pooled``: all sums over all weights, so that long videos count
more."""


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How the measurements of many videos become one number."""

    how: Aggregate = "videos"
    """What is averaged."""
    scale: float = 1.0
    """What the average is multiplied by; positive."""


@dataclass(frozen=True)
class Stat:
    """What one metric found in one video; its value is ``sum / weight``."""

    sum: float
    weight: float
    """How many pairs, frames or windows were measured; 0 if there was nothing to measure."""
    curve: tuple[float, ...] = ()
    """The value along the video, where the metric has one."""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.sum, self.weight, *self.curve))) or self.weight < 0:
            raise UsageError(f"a measurement must be finite with a weight from 0 up; this is {self.sum}/{self.weight}")

    @classmethod
    def of_curve(cls, curve: NDArray[np.floating] | Sequence[float]) -> "Stat":
        """The mean along a video, with the curve itself."""
        values = tuple(float(value) for value in curve)
        return cls(math.fsum(values), float(len(values)), values)

    @property
    def value(self) -> float | None:
        """``sum / weight``, None for weight 0."""
        return self.sum / self.weight if self.weight else None


@dataclass(frozen=True)
class Estimate:
    """An aggregate with its interval."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None with fewer than two prompts, which say nothing about others."""
    high: float | None
    """Upper end, None as ``low``."""
    videos: int
    """How many videos count."""
    prompts: int
    """How many prompts they belong to."""

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit; ``factor`` is positive."""
        low, high = (end if end is None else end * factor for end in (self.low, self.high))
        return replace(self, value=self.value * factor, low=low, high=high)


Samples = Mapping[str, Sequence[Stat]]
"""The measurements of one metric by prompt."""


def aggregate(stats: Sequence[Stat], how: Aggregate = "videos") -> float:
    """One number for many videos; those without weight do not count.

    Raises:
        UsageError: no video has a weight.
    """
    sums, weights = _totals({"": stats}, [""], how)
    return float(sums[0] / weights[0])


def estimate(samples: Samples, how: Aggregate = "videos") -> Estimate:
    """The aggregate over all prompts with its bootstrap interval, the same whatever the order of ``samples``.

    Raises:
        UsageError: no video has a weight.
    """
    prompts = _with_weight(samples)
    sums, weights = _totals(samples, prompts, how)
    count = sum(bool(stat.weight) for prompt in prompts for stat in samples[prompt])
    low, high = _interval(len(prompts), lambda drawn: sums[drawn].sum() / weights[drawn].sum())
    return Estimate(math.fsum(sums) / math.fsum(weights), low, high, count, len(prompts))


def paired_difference(base: Samples, other: Samples, how: Aggregate = "videos") -> Estimate:
    """How much higher ``other`` is than ``base`` on the prompts that both have.

    The same prompts are drawn for both in every resample, so that what is hard about a prompt cancels out.

    Raises:
        UsageError: no prompt has a measurement in both.
    """
    prompts = [prompt for prompt in _with_weight(base) if any(stat.weight for stat in other.get(prompt, ()))]
    if not prompts:
        raise UsageError("no prompt was measured in both runs; a paired comparison needs the same prompts")
    (sums, weights), (sums2, weights2) = _totals(base, prompts, how), _totals(other, prompts, how)

    def difference(drawn: NDArray[np.integer]) -> float:
        return float(sums2[drawn].sum() / weights2[drawn].sum() - sums[drawn].sum() / weights[drawn].sum())

    low, high = _interval(len(prompts), difference)
    count = sum(bool(stat.weight) for prompt in prompts for stat in other[prompt])
    return Estimate(difference(np.arange(len(prompts))), low, high, count, len(prompts))


def _with_weight(samples: Samples) -> list[str]:
    prompts = sorted(prompt for prompt, stats in samples.items() if any(stat.weight for stat in stats))
    if not prompts:
        raise UsageError("nothing was measured: no video has a value")
    return prompts


def _totals(
    samples: Samples, prompts: Sequence[str], how: Aggregate
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and weight of every prompt; exactly rounded, so that the order of its videos does not matter."""
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


def _interval(count: int, statistic: Callable[[NDArray[np.integer]], float]) -> tuple[float, float] | tuple[None, None]:
    """Percentile bootstrap. Source: B. Efron, Annals of Statistics 7 (1979). The seed is fixed: reports repeat."""
    if count < 2:
        return None, None
    generator = np.random.default_rng(0)
    drawn = sorted(float(statistic(generator.integers(count, size=count))) for _ in range(DRAWS))
    tail = (1 - COVERAGE) / 2
    ends = np.quantile(drawn, [tail, 1 - tail])
    return float(ends[0]), float(ends[1])
