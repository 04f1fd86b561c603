"""The report of a comparison: one HTML file that contains everything and loads nothing from the network.

A policy inside the page forbids every connection and every script except its own, and all texts are escaped, so a
prompt cannot run anything.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from genkit.benchmarks.drawing.curves import Line, curves, line_styles
from genkit.benchmarks.evaluate.intervals import MIN_PROMPTS
from genkit.benchmarks.evaluate.sign_flips import LEVEL, MIN_PAIRS
from genkit.benchmarks.evaluate.stats import Estimate, Stat
from genkit.benchmarks.report.findings import Comparison, Row, Side, Take
from genkit.benchmarks.report.worst import Worst, no_loss, worst_cases
from genkit.record.receipt import versions

MARKS = {"better": "▲", "worse": "▼", "different": "◆", "noise": "≈", "equal": "="}
"""Symbol before a verdict, so that it does not depend on its colour."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One take of one side on the page."""

    video: str
    """A data URI of the mp4 file."""
    strip: str
    """A data URI of a few of its frames."""
    file: str
    """Path of the video relative to the report."""
    seconds: float
    """Duration of the video."""
    fps: float
    """Frames per second."""


Clips = Sequence[Sequence[Clip]]
"""Clips by side, then by take."""


def render(comparison: Comparison, clips: Clips, title: str) -> str:
    """Return the page.

    Args:
        comparison: the numbers.
        clips: the pictures, for every side in the order of the takes.
        title: heading of the page.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("genkit.benchmarks.report") / "assets"
    style, script, page = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js", "page.html"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "signed": with_sign, "interval": interval}
    return environment.from_string(page).render(
        title=title,
        style=Markup(style) + line_styles(len(comparison.sides)),
        script=Markup(script),
        script_hash=_hash(script),
        comparison=comparison,
        clips=clips,
        takes=[_take(comparison, clips, index) for index in range(len(comparison.takes))],
        groups=_groups(comparison.rows),
        worst=[_worst(comparison, clips, case) for case in worst_cases(comparison)],
        no_worst=no_loss(comparison),
        summaries=[summary(comparison, side) for side in range(1, len(comparison.sides))],
        cautions=cautions(comparison),
        marks=MARKS,
        versions=versions(),
        sides=[_side(side) for side in comparison.sides],
    )


def number(value: float | None) -> str:
    """Return a value as in the tables: four significant figures."""
    return "–" if value is None else f"{value:.4g}"


def with_sign(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.4g}".replace("-", "−")


def interval(estimate: Estimate) -> str:
    """Return the ends of an interval as text; empty if there is none."""
    return "" if estimate.low is None else f"{number(estimate.low)} to {number(estimate.high)}"


def summary(comparison: Comparison, side: int) -> str:
    """Return one sentence that compares a side with the first."""
    found = comparison.verdicts(side)
    counts = ", ".join(f"{verdict} in {count}" for verdict, count in found.items())
    mine, base = comparison.sides[side].name, comparison.sides[0].name
    return f"{mine} against {base}: {_same(comparison, side)}{counts or 'nothing to compare'}"


def _same(comparison: Comparison, side: int) -> str:
    """Return a clause if videos of a side are identical to the first side's, else an empty text."""
    same, takes = comparison.sides[side].same_videos, len(comparison.takes)
    if not same:
        return ""
    if same < takes:
        return f"the same video, bit for bit, in {same} of {takes} takes; "
    what = "video" if takes == 1 else "videos"
    return f"the same {what}, bit for bit: the difference between the two had no effect on them; "


def cautions(comparison: Comparison) -> list[str]:
    """Return what a reader must know before believing a verdict."""
    found = list(comparison.notes)
    found += _ceilings(comparison)
    unit = comparison.unit
    draws = len({take.prompt if unit == "prompts" else take.seed for take in comparison.takes})
    if draws < MIN_PROMPTS:
        only = "There is only one take" if len(comparison.takes) == 1 else f"There are only {draws} {unit}"
        return [*found, f"{only}, so nothing can be said about others: no intervals, no verdicts."]
    if unit == "seeds":
        found.append("All takes have one prompt: the numbers are about its seeds and say nothing about other prompts.")
    if draws < MIN_PAIRS:
        found.append(
            f"{draws} {unit} are too few for verdicts, which need {MIN_PAIRS}: with fewer, chance alone too often puts "
            "all on one side. The numbers below describe only these videos."
        )
    elif len(comparison.sides) > 1:
        found.append(_correction(comparison))
    return found


def _ceilings(comparison: Comparison) -> list[str]:
    """Return the meaning of the ceilings, if a perfect video is not entirely right."""
    found = [score.ceiling for row in comparison.rows for score in row.scores if score.ceiling is not None]
    if not found or min(found) > 0.99:
        return []
    return [
        "Accuracies of sprites are shown with their ceiling (as in 0.5 of 0.75): the oracle's score of the exact "
        "world, rendered for these prompts at this length. Beyond the training length the world itself does not keep "
        "moving, so a loop may score above it."
    ]


def _correction(comparison: Comparison) -> str:
    """Return the meaning of the verdicts in words."""
    count = max(sum(comparison.verdicts(side).values()) for side in range(1, len(comparison.sides)))
    return (
        f"The verdicts of a side are corrected for its {count} measures: the chance that any of them is called better, "
        f"worse or different by accident is at most {LEVEL:.0%}, for each side. The intervals are those of each "
        "measure alone."
    ).replace("5%", "5 %")


def take_title(take: Take) -> str:
    """Return the title of a take on the page."""
    return f"{take.prompt} · seed {take.seed}"


def _hash(script: str) -> str:
    """Return the script's hash for the page's policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows by suite, in their order."""
    names = dict.fromkeys(row.metric.partition(".")[0] for row in rows)
    return [(name, [row for row in rows if row.metric.startswith(f"{name}.")]) for name in names]


def _take(comparison: Comparison, clips: Clips, take: int) -> dict[str, Any]:
    drawn = [(row, _curves(row, clips, take)) for row in comparison.rows]
    return {
        "title": take_title(comparison.takes[take]),
        "clips": [mine[take] for mine in clips],
        "curves": [(row, drawing) for row, drawing in drawn if drawing],
    }


def _curves(row: Row, clips: Clips, take: int) -> Markup | None:
    """Draw the curves of one metric in one take; None if no side has more than one point."""
    cells = [(side, score.cells[take]) for side, score in enumerate(row.scores) if score.cells]
    lines = [
        Line(side=side, values=cell.curve, seconds=clips[side][take].seconds)
        for side, cell in cells
        if isinstance(cell, Stat) and len(cell.curve) > 1
    ]
    return curves(f"{row.metric} over time", lines) if lines else None


def _worst(comparison: Comparison, clips: Clips, case: Worst) -> dict[str, Any]:
    return {
        "side": comparison.sides[case.side].name,
        "base": comparison.sides[0].name,
        "take": take_title(comparison.takes[case.take]),
        "case": case,
        "strips": [(index, comparison.sides[index].name, clips[index][case.take].strip) for index in (0, case.side)],
    }


def _side(side: Side) -> dict[str, Any]:
    densities = {name: share.mean for name, share in side.receipts[0].attention.densities.items()}
    return {
        "name": side.name,
        "request": json.dumps(side.request, indent=2, ensure_ascii=False, sort_keys=True),
        "densities": [f"{name} computed {share:.0%} of the attention" for name, share in densities.items()],
        "refusals": sorted({refusal.reason for receipt in side.receipts for refusal in receipt.attention.refusals}),
        "receipts": [str(receipt) for receipt in side.receipts],
    }
