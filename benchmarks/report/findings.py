"""Findings of a comparison as data: for each metric the value of every side, its interval, and a paired verdict.

A *side* is one way of making videos; a *take* is one prompt with one seed, made by every side. Intervals are over
prompts if there are several, else over seeds of the one prompt. A verdict is corrected for the number of measures in
which its side is compared with the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from genkit.benchmarks.evaluate.comparison import verdict_of
from genkit.benchmarks.evaluate.sign_flips import chances
from genkit.benchmarks.evaluate.stats import (
    FROM_ZERO,
    Estimate,
    Reduction,
    Stat,
    estimate,
    paired_changes,
    paired_difference,
)
from genkit.record.receipt import Receipt

SCHEMA_VERSION = 1
SECONDS: dict[str, Any] = {
    "about": "wall-clock seconds of all solver steps on this machine; a first clip may include a warm-up",
    "better": "lower",
    "reduction": asdict(FROM_ZERO),
}
"""The metric taken from the receipts."""

VERDICTS = ("better", "worse", "different", "noise", "equal")
"""Verdicts in the order of the summary."""

Cell = Stat | str
"""The value of one metric on one clip: a measurement, or the reason it is missing."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """One prompt with one seed."""

    name: str
    """Name used in its files."""
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way of making the takes, with its measurements."""

    name: str
    request: dict[str, Any]
    """The request, without prompt and seed."""
    receipts: tuple[Receipt, ...]
    """Receipts, in the order of the takes."""
    results: dict[str, dict[str, Any]]
    """Results of :func:`genkit.benchmarks.evaluate.run.evaluate` by suite, its videos named after the takes."""
    same_videos: int = 0
    """Number of its videos that equal the first side's bit for bit; 0 for the first side."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Values of one metric for one side."""

    cells: tuple[Cell, ...]
    """Values in the order of the takes."""
    value: Estimate | None
    """Aggregate over all takes; None if none was measured."""
    difference: Estimate | None = None
    """This side minus the first, take by take; None for the first side and if the first has no value."""
    ceiling: float | None = None
    """Mean score that perfect videos of these takes would get; None if unknown."""
    changes: Mapping[str, float] = field(default_factory=dict)
    """Contribution of each prompt or seed to the difference."""
    chance: float | None = None
    """Probability of so large a difference by chance, corrected for the number of measures; None without one."""
    verdict: str = ""
    """``better``, ``worse``, ``different``, ``noise``, ``equal`` or ``too few ...``; empty without a difference."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric over all sides."""

    metric: str
    about: str
    better: str
    """``higher``, ``lower`` or ``neither``."""
    scores: tuple[Score, ...]
    """Scores in the order of the sides."""

    @property
    def reasons(self) -> list[str]:
        """Return the reasons for missing values, each once."""
        return sorted({cell for score in self.scores for cell in score.cells if isinstance(cell, str)})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a report shows except its pictures."""

    sides: tuple[Side, ...]
    takes: tuple[Take, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Reasons for what was left out, as sentences."""

    @property
    def unit(self) -> str:
        """Unit of the intervals: ``prompts`` or ``seeds``."""
        return unit_of(self.takes)

    def verdicts(self, side: int) -> dict[str, int]:
        """Return the number of each verdict of a side."""
        words = [row.scores[side].verdict for row in self.rows if row.scores[side].verdict]
        return {word: words.count(word) for word in dict.fromkeys((*VERDICTS, *words)) if word in words}


def tabulate(sides: Sequence[Side], takes: Sequence[Take], notes: Sequence[str] = ()) -> Comparison:
    """Collect the measurements of all sides in one table."""
    abouts: dict[str, dict[str, Any]] = {}
    for side in sides:
        for results in side.results.values():
            abouts |= results["metrics"]
    rows = [_row(name, about, sides, takes) for name, about in abouts.items()]
    rows.append(_row("cost.denoise_seconds", SECONDS, sides, takes))
    with_verdicts = _judge(rows, len(sides), unit_of(takes))
    return Comparison(sides=tuple(sides), takes=tuple(takes), rows=tuple(with_verdicts), notes=tuple(notes))


def unit_of(takes: Sequence[Take]) -> str:
    """Return ``prompts`` if there are several, the usual object of a claim, else ``seeds`` of the one prompt."""
    return "prompts" if len({take.prompt for take in takes}) > 1 else "seeds"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON values, the contents of ``report.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "unit": comparison.unit,
        "takes": [vars(take) for take in comparison.takes],
        "sides": [_side_json(side) for side in comparison.sides],
        "metrics": {row.metric: _row_json(row) for row in comparison.rows},
        "notes": list(comparison.notes),
    }


def _row(name: str, about: Mapping[str, Any], sides: Sequence[Side], takes: Sequence[Take]) -> Row:
    base, *others = [_cells(side, name, takes) for side in sides]
    how = Reduction.of(about)
    first = _alone(base, takes, how)
    scores = [first, *(_against(first, cells, takes, how) for cells in others)]
    scored = [replace(score, ceiling=_ceiling(side, name)) for score, side in zip(scores, sides, strict=True)]
    return Row(metric=name, about=about["about"], better=about["better"], scores=tuple(scored))


def _ceiling(side: Side, metric: str) -> float | None:
    found = [results["metrics"].get(metric, {}).get("ceiling") for results in side.results.values()]
    return next((ceiling for ceiling in found if ceiling is not None), None)


def _alone(cells: tuple[Cell, ...], takes: Sequence[Take], how: Reduction) -> Score:
    samples = _samples(cells, takes)
    value = estimate(samples, how.how, how.bounds).scale(how.scale) if samples else None
    return Score(cells=cells, value=value)


def _against(first: Score, cells: tuple[Cell, ...], takes: Sequence[Take], how: Reduction) -> Score:
    """Return the score of a side compared with the first, on the takes in which both were measured."""
    score = _alone(cells, takes, how)
    both = [(a, b) if _weighs(a) and _weighs(b) else ("", "") for a, b in zip(first.cells, cells, strict=False)]
    base, samples = (_samples([pair[side] for pair in both], takes) for side in (0, 1))
    if not samples:
        return score
    return replace(
        score,
        difference=paired_difference(base, samples, how.how, how.bounds).scale(how.scale),
        changes=paired_changes(base, samples, how.how),
    )


def _judge(rows: Sequence[Row], sides: int, unit: str) -> list[Row]:
    """Return the rows with verdicts: all measures of a side are judged together."""
    by_side = [chances({row.metric: row.scores[side].changes for row in rows}) for side in range(sides)]
    return [
        replace(row, scores=tuple(_with_verdict(row, side, by_side[side], unit) for side in range(sides)))
        for row in rows
    ]


def _with_verdict(row: Row, side: int, chance: Mapping[str, float], unit: str) -> Score:
    score = row.scores[side]
    if score.difference is None:
        return score
    found = chance[row.metric]
    verdict = verdict_of(score.difference, row.better, found, not any(score.changes.values()))
    return replace(score, chance=found, verdict=verdict.replace("prompts", unit))


def _cells(side: Side, metric: str, takes: Sequence[Take]) -> tuple[Cell, ...]:
    if metric == "cost.denoise_seconds":
        return tuple(_seconds(receipt) for receipt in side.receipts)
    results = next((found for found in side.results.values() if metric in found["metrics"]), None)
    if results is None:
        return ()
    videos = {video["name"].rpartition(".")[0]: video for video in results["videos"]}
    return tuple(_cell(videos[take.name], metric) for take in takes)


def _cell(video: dict[str, Any], metric: str) -> Cell:
    row = video["metrics"].get(metric) or {"error": video.get("error", "it was not measured")}
    return row["error"] if "error" in row else Stat(row["sum"], row["weight"], tuple(row["curve"]))


def _seconds(receipt: Receipt) -> Cell:
    spent = receipt.seconds.denoise
    return "the receipt has no time" if spent is None else Stat(spent, 1.0)


def _weighs(cell: Cell) -> bool:
    return isinstance(cell, Stat) and cell.weight > 0


def _samples(cells: Sequence[Cell], takes: Sequence[Take]) -> dict[str, list[Stat]]:
    """Return the measurements by the unit of the intervals."""
    by_prompt = unit_of(takes) == "prompts"
    found: dict[str, list[Stat]] = {}
    for cell, take in zip(cells, takes, strict=False):
        if isinstance(cell, Stat) and _weighs(cell):
            found.setdefault(take.prompt if by_prompt else str(take.seed), []).append(cell)
    return found


def _side_json(side: Side) -> dict[str, Any]:
    receipts = [receipt.model_dump(mode="json") for receipt in side.receipts]
    return {"name": side.name, "request": side.request, "same_videos": side.same_videos, "receipts": receipts}


def _row_json(row: Row) -> dict[str, Any]:
    return {"about": row.about, "better": row.better, "sides": [_score_json(score) for score in row.scores]}


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "value": score.value and vars(score.value),
        "ceiling": score.ceiling,
        "difference": score.difference and vars(score.difference),
        "chance": score.chance,
        "verdict": score.verdict,
        "clips": [
            {"error": cell} if isinstance(cell, str) else {"value": cell.value, "curve": list(cell.curve)}
            for cell in score.cells
        ],
    }
