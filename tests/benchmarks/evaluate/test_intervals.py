"""What intervals and verdicts promise, by simulation: 95 % from three prompts on, and few false alarms."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from genkit.benchmarks.evaluate import intervals, sign_flips
from genkit.benchmarks.evaluate.intervals import (
    MIN_PROMPTS,
    Ends,
    Totals,
    of_measurements,
    of_share,
    of_share_difference,
)
from genkit.benchmarks.evaluate.quantiles import beta_quantile, beta_share, student_quantile
from genkit.benchmarks.evaluate.sign_flips import EXACT, LEVEL, MIN_PAIRS, chances
from genkit.benchmarks.evaluate.stats import (
    DRAWS,
    FROM_ZERO,
    Aggregate,
    Reduction,
    Stat,
    estimate,
    paired_changes,
    paired_difference,
)
from genkit.benchmarks.report.findings import SECONDS
from genkit.benchmarks.suites import lite, similarity, sprites

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
MEASURES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda g, n: g.normal(size=n), 0.0),
    "uniform": (lambda g, n: g.uniform(size=n), 0.5),
    "exponential": (lambda g, n: g.exponential(size=n), 1.0),
    "gamma": (lambda g, n: g.gamma(2, size=n), 2.0),
    "log-normal": (lambda g, n: g.lognormal(0, 1, size=n), math.exp(0.5)),
    "t of 3": (lambda g, n: g.standard_t(3, size=n), 0.0),
    "Laplace": (lambda g, n: g.laplace(size=n), 0.0),
    "U-shaped": (lambda g, n: g.beta(0.5, 0.5, size=n), 0.5),
    "near the top": (lambda g, n: g.beta(8, 1, size=n), 8 / 9),
    "ties": (lambda g, n: np.round(g.normal(0.3, 1, size=n)), float("nan")),
    "counts": (lambda g, n: g.poisson(2, size=n).astype(float), 2.0),
}
SHARES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95, 0.98)


def ones(values: Any) -> dict[str, list[Stat]]:
    return {f"{i:04}": [Stat(float(value), 1.0)] for i, value in enumerate(values)}


def truth(name: str) -> float:
    if name != "ties":
        return MEASURES[name][1]
    below = [0.5 * (1 + math.erf((k + 0.5 - 0.3) / 2**0.5)) for k in range(-9, 10)]
    return sum(k * (b - a) for k, a, b in zip(range(-8, 10), below, below[1:], strict=False))


def least(times: int) -> float:
    """What a coverage of 95 % may show in so many simulations: three standard deviations below."""
    return 0.95 - 3 * (0.95 * 0.05 / times) ** 0.5


def coverage(
    name: str, prompts: int, times: int, ends: Callable[[NDArray[np.float64], np.random.Generator], Ends]
) -> float:
    """How often an interval of drawn values holds the truth; none at all claims nothing."""
    generator, held, true = np.random.default_rng(prompts), 0, truth(name)
    for _ in range(times):
        low, high = ends(MEASURES[name][0](generator, prompts), generator)
        held += low is None or high is None or low - 1e-9 <= true <= high + 1e-9
    return held / times


def of_value(values: NDArray[np.float64], _: np.random.Generator) -> Ends:
    return of_measurements(Totals(values, np.ones(len(values))), draws=DRAWS)


def of_difference(values: NDArray[np.float64], generator: np.random.Generator) -> Ends:
    """The values are what is added to prompts that are hard by much more."""
    hard, one = 5 * generator.normal(size=len(values)), np.ones(len(values))
    return of_measurements(Totals(hard, one), Totals(hard + values, one), draws=DRAWS)


def told(values: NDArray[np.float64], _: np.random.Generator) -> Ends:
    found = estimate(ones(values))
    return (found.low, found.high)  # type: ignore[return-value]


@pytest.mark.parametrize("prompts", [3, 4, 10])
@pytest.mark.parametrize("name", ["normal", "exponential", "t of 3", "ties"])
def test_intervals_hold_what_they_promise(name: str, prompts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.benchmarks.evaluate.stats.DRAWS", 1000)
    assert coverage(name, prompts, 600, told) >= least(600)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [of_value, of_difference])
@pytest.mark.parametrize("name", MEASURES)
def test_intervals_hold_what_they_promise_from_3_to_60_prompts(name: str, ends: Callable[..., Ends]) -> None:
    for prompts in (3, 4, 6, 10, 20, 60):
        assert coverage(name, prompts, 800, ends) >= least(800), prompts


def test_equal_weights_take_a_shorter_way_to_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    for prompts, weight in itertools.product((3, 4, 9, 60), (1.0, 5.0)):
        base, other = (Totals(weight * generator.lognormal(size=prompts), np.full(prompts, weight)) for _ in range(2))
        for runs in ((base,), (base, other)):
            short = of_measurements(*runs, draws=500)
            with monkeypatch.context() as long_way:
                long_way.setattr(intervals, "_means_and_errors", None)
                long_way.setattr(intervals, "_values_and_errors", intervals._weighted)
                assert of_measurements(*runs, draws=500) == pytest.approx(short, rel=1e-10)


def test_the_interval_of_a_share_is_exact_for_every_share() -> None:
    """No simulation: the probability of every number of hits is known."""
    for prompts in (3, 4, 6, 10, 25, 60):
        totals = Totals(np.ones(prompts), np.ones(prompts))
        ends = [of_share(hits / prompts, totals) for hits in range(prompts + 1)]
        for share in (0.001, *SHARES, 0.999):
            held = sum(
                math.comb(prompts, hits) * share**hits * (1 - share) ** (prompts - hits)
                for hits, (low, high) in enumerate(ends)
                if low is not None and high is not None and low <= share <= high
            )
            assert held >= 0.95, (prompts, share)
        assert all(low is not None and high is not None and high - low > 1 / prompts / 2 for low, high in ends)


def test_the_interval_of_a_difference_of_shares_holds_for_every_pair_of_shares() -> None:
    """All ways in which prompts can be gained and lost, with their probabilities."""
    for prompts in (3, 5, 8, 14, 25):
        ways = [(more, less) for more in range(prompts + 1) for less in range(prompts + 1 - more)]
        none = np.zeros(prompts)
        ends = []
        for more, less in ways:
            base, other = none.copy(), none.copy()
            other[:more], base[more : more + less] = 1, 1
            ends.append(of_share_difference(Totals(base, none + 1), Totals(other, none + 1)))
        for gain, loss in itertools.product((0.02, 0.1, 0.3, 0.5, 0.7), (0.02, 0.1, 0.3, 0.5)):
            if gain + loss > 1:
                continue
            held = 0.0
            for (more, less), (low, high) in zip(ways, ends, strict=True):
                rest = prompts - more - less
                many = math.comb(prompts, more) * math.comb(prompts - more, less)
                assert low is not None and high is not None and low < high
                if low <= gain - loss <= high:
                    held += many * gain**more * loss**less * (1 - gain - loss) ** rest
            assert held >= 0.95, (prompts, gain, loss)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_prompts_count_and_not_their_seeds(share: float) -> None:
    """Every seed of a prompt answers alike: five of them tell no more than one, and the interval still holds."""
    generator, held, times = np.random.default_rng(7), 0, 1000
    for _ in range(times):
        answers = generator.random(6) < share
        found = estimate({str(i): [Stat(float(answer), 1.0)] * 5 for i, answer in enumerate(answers)})
        assert found.low is not None and found.high is not None and found.videos == 30
        held += found.low <= share <= found.high
    assert held / times >= least(times)


def test_prompts_with_unequal_numbers_of_seeds_count_less() -> None:
    even = estimate({str(i): [Stat(float(i % 2), 1.0)] * 3 for i in range(8)})
    uneven = estimate({str(i): [Stat(float(i % 2), 1.0)] * (17 if i < 2 else 1) for i in range(8)})
    assert None not in (even.low, uneven.low) and uneven.value == even.value == 0.5
    assert uneven.high - uneven.low > 1.3 * (even.high - even.low)  # type: ignore[operator]
    one_counts = {str(i): [Stat(float(i), 1.0)] * (200 if i == 0 else 1) for i in range(5)}
    assert estimate(one_counts).low is None, "one prompt is nearly all there is"


def test_too_few_prompts_have_no_interval() -> None:
    for prompts in range(1, MIN_PROMPTS):
        found = estimate(ones(range(prompts)))
        assert (found.low, found.high) == (None, None)
    assert estimate(ones(range(MIN_PROMPTS))).low is not None


def test_no_spread_is_no_certainty() -> None:
    for value in (0.0, 1.0):
        found = estimate(ones([value] * 4))
        assert found.low is not None and found.high is not None and found.high - found.low > 0.5
    assert estimate(ones([0.25] * 4)).low is None
    bounded = estimate(ones([0.25] * 4), bounds=(0.0, 1.0))
    assert bounded.low is not None and bounded.high is not None and 0 < bounded.low < 0.05 and bounded.high > 0.7
    assert paired_difference(ones([1, 2, 4]), ones([2, 3, 5])).low is None
    assert paired_difference(ones([7] * 8), ones([7] * 8)).low is None


def test_an_interval_stays_where_its_metric_can_be() -> None:
    values = [0.9, 0.99, 0.5, 0.97]
    free, held = estimate(ones(values)), estimate(ones(values), bounds=(0.0, 1.0))
    assert free.high > 1 > held.high > held.value > held.low > 0  # type: ignore[operator]
    scaled = estimate(ones([100 * value for value in values]), bounds=(0.0, 100.0)).scale(0.01)
    assert (scaled.low, scaled.high) == pytest.approx((held.low, held.high))


def test_a_measure_with_one_end_is_cut_there_and_has_no_answers() -> None:
    """Ratios from 1 up and errors from 0 up: all 1 or all 0 by chance is no share of answers that are yes."""
    values = [1.0, 1.1, 6.0, 1.2]
    free, held = estimate(ones(values)), estimate(ones(values), bounds=(1.0, None))
    assert free.low < 1 and (held.low, held.high) == (1.0, free.high)  # type: ignore[operator]
    top = estimate(ones([-value for value in values]), bounds=(None, -1.0))
    assert (top.low, top.high) == pytest.approx((-held.high, -1.0), rel=0.2)  # type: ignore[operator]
    for value in (0.0, 1.0):
        assert estimate(ones([value] * 6), bounds=(0.0, None)).low is None
        assert paired_difference(ones([value] * 6), ones([value] * 6), bounds=(0.0, None)).low is None


def test_a_difference_stays_within_the_width_of_its_metric() -> None:
    base, other = ones([0.1, 0.9, 0.2]), ones([0.95, 0.97, 0.9])
    free, held = paired_difference(base, other), paired_difference(base, other, bounds=(0.0, 1.0))
    assert free.high > 1 > free.value and (held.low, held.high) == (max(-1.0, free.low), 1.0)  # type: ignore
    wide = paired_difference(base, other, bounds=(-1.0, 1.0))
    assert wide.high == min(2.0, free.high)  # type: ignore[type-var]
    assert paired_difference(base, other, bounds=(0.0, None)) == free


@pytest.mark.parametrize("how", ["videos", "pooled"])
def test_unequal_numbers_of_videos_are_no_difference(how: Aggregate) -> None:
    """A hard prompt has more videos in one run, an easy one in the other; each prompt is as before."""
    few, many = [Stat(0.0, 1.0)], [Stat(0.0, 1.0)] * 5
    high, most = [Stat(1.5, 2.0)], [Stat(1.5, 2.0)] * 5
    base = {"hard 1": few, "hard 2": few, "easy 1": most, "easy 2": most}
    other = {"hard 1": many, "hard 2": many, "easy 1": high, "easy 2": high}
    found = paired_difference(base, other, how)
    assert found.value == 0 and found.low is None
    assert set(paired_changes(base, other, how).values()) == {0.0}
    worse = {prompt: [Stat(stat.sum - 0.1, stat.weight) for stat in stats] for prompt, stats in other.items()}
    assert paired_difference(base, worse, how).value < 0


def test_what_a_metric_says_of_its_range_is_where_its_intervals_end() -> None:
    ranges = {
        "in [0, 1]": (0.0, 1.0),
        "0 or more": (0.0, None),
        "1 is an even pace": (1.0, None),
        "; 0 if equal": (0.0, None),
    }
    for suite in (lite.SUITE, similarity.SUITE, sprites.SUITE):
        for metric in suite.metrics:
            assert metric.reduction.bounds is not None, metric.name
            for words, bounds in ranges.items():
                assert words not in metric.about or metric.reduction.bounds == bounds, metric.name
    assert Reduction.of(SECONDS).bounds == (0.0, None)
    told = {"reduction": json.loads(json.dumps(asdict(FROM_ZERO)))}
    assert Reduction.of(told) == FROM_ZERO and Reduction.of({}) == Reduction()


@pytest.mark.parametrize("prompts", [6, 9])
@pytest.mark.parametrize("name", ["normal", "exponential", "t of 3", "yes or no"])
def test_false_alarms_are_rare_however_many_measures_there_are(name: str, prompts: int) -> None:
    """Two methods that do not differ, in twelve measures that hang together."""
    generator, alarms, times = np.random.default_rng(prompts), 0, 400
    for _ in range(times):
        hard = generator.normal(size=prompts)
        changes = {}
        for number in range(12):
            one, two = (_side(name, generator, prompts, hard) for _ in range(2))
            changes[str(number)] = {str(i): float(b - a) for i, (a, b) in enumerate(zip(one, two, strict=True))}
        alarms += min(chances(changes).values()) <= LEVEL
    assert alarms / times <= LEVEL + 3 * (LEVEL * (1 - LEVEL) / times) ** 0.5


def _side(name: str, generator: np.random.Generator, prompts: int, hard: NDArray[np.float64]) -> NDArray[np.float64]:
    if name == "yes or no":
        return (generator.random(prompts) < 1 / (1 + np.exp(-hard))).astype(float)
    return hard + MEASURES[name][0](generator, prompts)


def test_a_difference_that_is_there_is_found_among_many_measures() -> None:
    generator = np.random.default_rng(3)
    changes = {str(m): {str(i): float(v) for i, v in enumerate(generator.normal(size=8))} for m in range(20)}
    changes["real"] = {str(i): 2 + float(v) for i, v in enumerate(generator.normal(0, 0.5, size=8))}
    found = chances(changes)
    assert found["real"] == 2 / 2**8 and sum(chance <= LEVEL for chance in found.values()) == 1


def test_the_chances_by_hand() -> None:
    """Signs of three prompts: of 8 ways 2 lie as far out as equal signs, 4 of 8 as far as one that is larger."""
    same = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert chances({"m": same}) == {"m": 0.25}
    assert chances({"m": {"a": 5.0, "b": 1.0, "c": -1.0}})["m"] == 0.75
    assert chances({"m": same, "n": {"a": 0.0, "b": 0.0, "c": 0.0}}) == {"m": 0.25, "n": 1.0}
    assert chances({"m": {}, "n": {}}) == {"m": 1.0, "n": 1.0}
    unit = {prompt: 1e-200 * value for prompt, value in same.items()}
    assert chances({"m": unit, "n": dict.fromkeys(same, 1e200)}) == {"m": 0.25, "n": 0.25}
    part = chances({"m": same, "n": {"a": 1.0}})
    assert part["m"] == 0.25 and part["n"] == 1.0


def test_fewer_pairs_than_the_least_can_never_reject() -> None:
    for prompts in range(1, 10):
        chance = chances({"m": {str(i): 1.0 for i in range(prompts)}})["m"]
        assert chance == 2 / 2**prompts and (chance <= LEVEL) == (prompts >= MIN_PAIRS)


def test_drawn_flips_agree_with_all_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    changes = {str(m): {str(i): float(v) for i, v in enumerate(generator.normal(0.3, 1, size=EXACT))} for m in range(3)}
    exact = chances(changes)
    monkeypatch.setattr(sign_flips, "EXACT", 3)
    drawn = chances(changes)
    assert all(drawn[name] == pytest.approx(exact[name], abs=0.015) for name in exact)
    assert min(chances({"m": {str(i): 1.0 for i in range(40)}}).values()) == 1 / (1 + sign_flips.FLIPS)


def test_quantiles_are_those_of_the_tables() -> None:
    for freedom, at_95, at_99 in ((1, 12.706, 63.657), (2, 4.303, 9.925), (3, 3.182, 5.841), (9, 2.262, 3.250)):
        assert student_quantile(0.05, freedom) == pytest.approx(at_95, abs=6e-4)
        assert student_quantile(0.01, freedom) == pytest.approx(at_99, abs=6e-4)
    assert student_quantile(0.05, 1e6) == pytest.approx(1.959964, abs=1e-5)
    assert beta_quantile(0.5, 1, 1) == pytest.approx(0.5) and beta_quantile(0.025, 0, 5) == 0
    assert beta_quantile(0.975, 5, 0) == 1 and beta_quantile(0.975, 1, 4) == pytest.approx(1 - 0.025**0.25)
    assert beta_share(0, 2, 3) == 0 and beta_share(1, 2, 3) == 1


def test_quantiles_are_those_of_scipy() -> None:
    scipy = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    for _ in range(60):
        a, b = (float(10 ** generator.uniform(-0.5, 3)) for _ in range(2))
        share = float(generator.random())
        assert beta_quantile(share, a, b) == pytest.approx(scipy.beta.ppf(share, a, b), rel=1e-9)
        outside, freedom = float(generator.uniform(1e-4, 0.5)), float(10 ** generator.uniform(-0.3, 4))
        assert student_quantile(outside, freedom) == pytest.approx(scipy.t.ppf(1 - outside / 2, freedom), rel=1e-8)
