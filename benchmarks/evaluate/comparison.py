"""Two or more runs of one suite side by side, with paired intervals: which differences exceed noise."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genkit.benchmarks.evaluate.metric import check_roles
from genkit.benchmarks.evaluate.run import RESULTS, SCHEMA_VERSION, samples_of
from genkit.benchmarks.evaluate.sign_flips import LEVEL, MIN_PAIRS, Changes, chances
from genkit.benchmarks.evaluate.stats import Estimate, Reduction, Samples, paired_changes, paired_difference
from genkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of one run compared with the first run."""

    metric: str
    better: str
    """``higher``, ``lower`` or ``neither``."""
    base: str
    """The first run."""
    other: str
    """The run compared with it."""
    base_value: float
    """Aggregate of the first run over all its videos."""
    value: float
    """Aggregate of the other run over all its videos."""
    difference: Estimate
    """Other minus base, on the prompts that both have."""
    chance: float
    """Probability of a difference this large by chance, corrected for the number of measures compared."""
    same: bool = False
    """True if no prompt changed at all."""
    base_ceiling: float | None = None
    """Score that perfect videos of the first run's prompts and lengths would get; None if unknown."""
    ceiling: float | None = None
    """The same for the other run."""
    random_weights: bool = False
    """True if a network with random weights measured it, so that the numbers mean nothing."""

    @property
    def verdict(self) -> str:
        """The word returned by :func:`verdict_of`."""
        return verdict_of(self.difference, self.better, self.chance, self.same)


def verdict_of(difference: Estimate, better: str, chance: float, same: bool) -> str:
    """Return ``better``, ``worse``, ``different`` (neither is better), ``noise``, ``equal`` or ``too few prompts``.

    A difference exceeds noise if its interval excludes zero and flipped signs rarely reach it, all measures together.
    If no prompt changed at all the verdict is ``equal`` for any number of prompts: it states what these videos show
    and predicts nothing about others.
    """
    low, high = difference.low, difference.high
    if same:
        return "equal"
    if difference.prompts < MIN_PAIRS:
        return "too few prompts"
    if low is None or high is None or low <= 0 <= high or chance > LEVEL:
        return "noise"
    if better == "neither":
        return "different"
    return "better" if (low > 0) == (better == "higher") else "worse"


def compare(runs: list[Path]) -> list[Difference]:
    """Compare every run with the first, metric by metric.

    Raises:
        UsageError: fewer than two runs, a folder without results, different suites or settings, or no prompt in
            common.
    """
    if len(runs) < 2:
        raise UsageError("a comparison takes two runs or more; name the folders that `genkit eval run` wrote")
    base, *others = (load(run) for run in runs)
    return [
        difference
        for run, other in zip(runs[1:], others, strict=True)
        for difference in _differences((runs[0], base), (run, other))
    ]


def load(run: Path) -> dict[str, Any]:
    """Return the results of a run.

    Raises:
        UsageError: the folder has no results that this version can read.
    """
    path = run / RESULTS
    if not path.is_file():
        raise UsageError(f"{str(run)!r} does not contain {RESULTS}; finish it with `genkit eval run ... --resume`")
    try:
        results = json.loads(path.read_text("utf-8-sig"), parse_constant=_refuse_constant)
        if (version := results["schema_version"]) == SCHEMA_VERSION:
            _check_whole(results)
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(f"{str(path)!r} is damaged; write it again with `genkit eval run ... --resume`") from error
    if version != SCHEMA_VERSION:
        raise UsageError(f"{str(path)!r} has schema version {version!r}; this installation reads {SCHEMA_VERSION}")
    return results


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a measured value")


def _check_whole(results: dict[str, Any]) -> None:
    """Read every field that a comparison reads; raise if one is missing or of another type."""
    str.strip(results["suite"])
    for name, metric in results["metrics"].items():
        metric["better"], metric["role"], metric["identity"]
        bounds = Reduction.of(metric).bounds or ()
        sum(end for end in (metric["value"], *bounds) if end is not None)
        samples = samples_of(results["videos"], name)
        if bool(metric["prompts"]) != bool(samples):
            raise ValueError(f"{name} has values but no measurements, or measurements but no values")


def _differences(base: tuple[Path, dict[str, Any]], other: tuple[Path, dict[str, Any]]) -> list[Difference]:
    (base_run, left), (other_run, right) = base, other
    if left["suite"] != right["suite"]:
        raise UsageError(
            f"{str(base_run)!r} is of suite {left['suite']!r} and {str(other_run)!r} of suite {right['suite']!r}; "
            "compare runs of one suite"
        )
    if left.get("mode") != right.get("mode"):
        raise UsageError(
            f"{str(base_run)!r} is in mode {left.get('mode')!r} and {str(other_run)!r} in {right.get('mode')!r}; "
            "read both in one mode with `genkit eval run ... --mode MODE --resume`"
        )
    both = [name for name, metric in left["metrics"].items() if metric["prompts"] and _measured(right, name)]
    if not both:
        raise UsageError(f"{str(base_run)!r} and {str(other_run)!r} have no measured metric in common")
    check_roles("this comparison", {name: left["metrics"][name]["role"] for name in both})
    for name in both:
        if left["metrics"][name]["identity"] != right["metrics"][name]["identity"]:
            raise UsageError(
                f"{name} was measured with different settings or versions in {str(other_run)!r} and "
                f"{str(base_run)!r}; evaluate both again"
            )
    pairs = {name: (samples_of(left["videos"], name), samples_of(right["videos"], name)) for name in both}
    changes = {name: paired_changes(*pair, Reduction.of(left["metrics"][name]).how) for name, pair in pairs.items()}
    chance = chances(changes)
    return [_difference(name, base, other, pairs[name], changes[name], chance[name]) for name in both]


def _measured(results: dict[str, Any], name: str) -> bool:
    return bool(results["metrics"].get(name, {}).get("prompts"))


def _difference(
    name: str,
    base: tuple[Path, dict[str, Any]],
    other: tuple[Path, dict[str, Any]],
    samples: tuple[Samples, Samples],
    changes: Changes,
    chance: float,
) -> Difference:
    left, right = base[1]["metrics"][name], other[1]["metrics"][name]
    reduction = Reduction.of(left)
    paired = paired_difference(*samples, reduction.how, reduction.bounds).scale(reduction.scale)
    return Difference(
        metric=name,
        better=left["better"],
        base=str(base[0]),
        other=str(other[0]),
        base_value=left["value"],
        value=right["value"],
        difference=paired,
        chance=chance,
        same=not any(changes.values()),
        base_ceiling=left.get("ceiling"),
        ceiling=right.get("ceiling"),
        random_weights=left.get("weights") == "random",
    )
