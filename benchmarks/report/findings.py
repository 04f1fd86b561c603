"""What a comparison found, as data: for each metric the value of every side, its interval, and a paired verdict.

The words: a *side* is one way of making videos; a *take* is one prompt with one seed, made by every side. Intervals
speak about prompts if there are several, else about seeds of the one prompt. A verdict is corrected for the number of
measures that its side is held against the first in.
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
"""The metric that comes from the receipts."""

VERDICTS = ("better", "worse", "different", "noise", "equal")
"""In the order in which they are told."""

Cell = Stat | str
"""What one metric says of one clip: a measurement, or the reason why there is none."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """One prompt with one seed."""

    name: str
    """As in the names of its files."""
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way of making the takes, with what was measured."""

    name: str
    request: dict[str, Any]
    """What was asked for, without prompt and seed."""
    receipts: tuple[Receipt, ...]
    """What ran, in the order of the takes."""
    results: dict[str, dict[str, Any]]
    """What :func:`genkit.benchmarks.evaluate.run.evaluate` returned, by suite, its videos named after the takes."""
    same_videos: int = 0
    """How many of its videos are those of the first side to the bit; 0 for the first side."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one metric says of one side."""

    cells: tuple[Cell, ...]
    """In the order of the takes."""
    value: Estimate | None
    """Over all takes; None if none was measured."""
    difference: Estimate | None = None
    """This side less the first, take by take; None for the first side and where the first has no value."""
    ceiling: float | None = None
    """What perfect videos of these takes would get on average; None if that is not known."""
    changes: Mapping[str, float] = field(default_factory=dict)
    """What each prompt or seed adds to the difference."""
    chance: float | None = None
    """How likely so large a difference is by chance, corrected for the number of measures; None without one."""
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
    """In the order of the sides."""

    @property
    def reasons(self) -> list[str]:
        """Why clips have no value, each reason once."""
        return sorted({cell for score in self.scores for cell in score.cells if isinstance(cell, str)})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a report shows but its pictures."""

    sides: tuple[Side, ...]
    takes: tuple[Take, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What was left out, and why, as sentences."""

    @property
    def unit(self) -> str:
        """What the intervals are drawn from: ``prompts`` or ``seeds``."""
        return unit_of(self.takes)

    def verdicts(self, side: int) -> dict[str, int]:
        """How often each verdict fell on a side."""
        words = [row.scores[side].verdict for row in self.rows if row.scores[side].verdict]
        return {word: words.count(word) for word in dict.fromkeys((*VERDICTS, *words)) if word in words}


def compared(sides: Sequence[Side], takes: Sequence[Take], notes: Sequence[str] = ()) -> Comparison:
    """Put the measurements of all sides into one table."""
    abouts: dict[str, dict[str, Any]] = {}
    for side in sides:
        for results in side.results.values():
            abouts |= results["metrics"]
    rows = [_row(name, about, sides, takes) for name, about in abouts.items()]
    rows.append(_row("cost.denoise_seconds", SECONDS, sides, takes))
    judged = _judged(rows, len(sides), unit_of(takes))
    return Comparison(sides=tuple(sides), takes=tuple(takes), rows=tuple(judged), notes=tuple(notes))


def unit_of(takes: Sequence[Take]) -> str:
    """Several prompts are what a claim is about; with one prompt it is about its seeds."""
    return "prompts" if len({take.prompt for take in takes}) > 1 else "seeds"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON values, as ``report.json`` holds it."""
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
    told = [replace(score, ceiling=_ceiling(side, name)) for score, side in zip(scores, sides, strict=True)]
    return Row(metric=name, about=about["about"], better=about["better"], scores=tuple(told))


def _ceiling(side: Side, metric: str) -> float | None:
    found = [results["metrics"].get(metric, {}).get("ceiling") for results in side.results.values()]
    return next((most for most in found if most is not None), None)


def _alone(cells: tuple[Cell, ...], takes: Sequence[Take], how: Reduction) -> Score:
    samples = _samples(cells, takes)
    value = estimate(samples, how.how, how.bounds).scale(how.scale) if samples else None
    return Score(cells=cells, value=value)


def _against(first: Score, cells: tuple[Cell, ...], takes: Sequence[Take], how: Reduction) -> Score:
    """The score of a side that is held against the first one, on the takes in which both were measured."""
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


def _judged(rows: Sequence[Row], sides: int, unit: str) -> list[Row]:
    """The rows with verdicts: all measures of a side are judged together."""
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
    """Measurements by what the intervals are drawn from."""
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
