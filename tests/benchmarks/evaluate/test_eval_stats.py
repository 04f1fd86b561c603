"""Sufficient statistics and their intervals: order never matters, prompts are drawn whole, pairs cancel."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from genkit.benchmarks.evaluate.stats import Stat, aggregate, estimate, paired_difference
from genkit.errors import UsageError


def ones(values: Sequence[float]) -> list[Stat]:
    return [Stat(value, 1.0) for value in values]


def test_the_two_aggregates_by_hand() -> None:
    """Nine pairs of value 1 and one pair of value 0: pooled 0.9, but the two videos' mean is 0.5."""
    stats = [Stat(9.0, 9.0), Stat(0.0, 1.0), Stat(0.0, 0.0)]
    assert aggregate(stats, "pooled") == 0.9
    assert aggregate(stats, "videos") == 0.5


def test_a_curve_becomes_its_mean() -> None:
    stat = Stat.of_curve(np.array([0.25, 0.5, 0.75]))
    assert (stat.value, stat.weight, stat.curve) == (0.5, 3.0, (0.25, 0.5, 0.75))
    assert Stat.of_curve([]).value is None


@pytest.mark.parametrize("broken", [(float("nan"), 1.0), (0.0, float("inf")), (1.0, -1.0)])
def test_a_measurement_is_finite(broken: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="must be finite, its weight 0 or more"):
        Stat(*broken)


def test_nothing_measured_and_unknown_aggregate_are_errors() -> None:
    with pytest.raises(UsageError, match="nothing was measured"):
        estimate({"a": [Stat(0.0, 0.0)]})
    with pytest.raises(UsageError, match="not 'median'"):
        estimate({"a": ones([1])}, "median")  # type: ignore[arg-type]


def test_an_estimate_does_not_know_the_order() -> None:
    generator = np.random.default_rng(3)
    samples = {f"prompt {i}": ones(generator.random(4).tolist()) for i in range(7)}
    shuffled = list(samples.items())
    random.Random(1).shuffle(shuffled)
    assert estimate({prompt: stats[::-1] for prompt, stats in shuffled}) == estimate(samples)


def test_the_interval_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=200)
    found = estimate({str(i): ones([value]) for i, value in enumerate(values)})
    half = 1.96 * values.std() / 200**0.5
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None and found.high is not None
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_copies_within_a_prompt_are_no_new_evidence() -> None:
    values = np.random.default_rng(1).random(20)
    single = estimate({str(i): ones([value]) for i, value in enumerate(values)})
    copied = estimate({str(i): ones([value] * 5) for i, value in enumerate(values)})
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    as_prompts = estimate({f"{i}-{j}": ones([value]) for i, value in enumerate(values) for j in range(5)})
    assert as_prompts.high - as_prompts.low < 0.6 * (single.high - single.low)  # type: ignore[operator]


def test_one_prompt_has_no_interval() -> None:
    found = estimate({"a": ones([0.2, 0.4])})
    assert (found.value, found.low, found.high, found.videos, found.prompts) == (pytest.approx(0.3), None, None, 2, 1)


def test_pairs_cancel_what_is_hard_about_a_prompt() -> None:
    hard = np.random.default_rng(2).normal(size=12)
    base = {str(i): ones([value]) for i, value in enumerate(hard)}
    other = {str(i): ones([value + 0.1]) for i, value in enumerate(hard)}
    found = paired_difference(base, other | {"only here": ones([99.0])})
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.prompts == 12
    alone, too = estimate(base), estimate(other)
    assert alone.high > too.low  # type: ignore[operator]  # the unpaired intervals overlap by far


def test_a_pair_needs_a_prompt_in_common() -> None:
    with pytest.raises(UsageError, match="needs the same prompts"):
        paired_difference({"a": ones([1])}, {"b": ones([1])})
