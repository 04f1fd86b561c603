"""The report of a comparison: one HTML file that shows everything and asks the network for nothing.

A policy inside the page forbids every connection and every script but its own, and all texts are escaped, so a prompt
cannot bring anything to life.
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
"""What stands before a verdict, so that it does not depend on its colour."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What the page shows of one take of one side."""

    video: str
    """A data URI of the mp4 file."""
    strip: str
    """A data URI of a few of its frames."""
    file: str
    """Where the video lies, seen from the report."""
    seconds: float
    """Its length."""
    fps: float
    """Frames a second."""


Clips = Sequence[Sequence[Clip]]
"""By side, then by take."""


def render(comparison: Comparison, clips: Clips, title: str) -> str:
    """The page.

    Args:
        comparison: the numbers.
        clips: the pictures, for every side in the order of the takes.
        title: heads the page.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("genkit.benchmarks.report") / "assets"
    style, script, page = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js", "page.html"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "signed": signed, "interval": interval}
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
    """A value as tables show it: four figures."""
    return "–" if value is None else f"{value:.4g}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{value:+.4g}".replace("-", "−")


def interval(estimate: Estimate) -> str:
    """The ends of an interval; empty if there is none."""
    return "" if estimate.low is None else f"{number(estimate.low)} to {number(estimate.high)}"


def summary(comparison: Comparison, side: int) -> str:
    """One sentence on how a side stands against the first."""
    found = comparison.verdicts(side)
    told = ", ".join(f"{verdict} in {count}" for verdict, count in found.items())
    mine, base = comparison.sides[side].name, comparison.sides[0].name
    return f"{mine} against {base}: {_same(comparison, side)}{told or 'nothing to compare'}"


def _same(comparison: Comparison, side: int) -> str:
    """Whether a side changed anything at all."""
    same, takes = comparison.sides[side].same_videos, len(comparison.takes)
    if not same:
        return ""
    if same < takes:
        return f"the very same video, bit for bit, in {same} of {takes} takes; "
    what = "video" if takes == 1 else "videos"
    return f"the very same {what}, bit for bit: what differs between the two had no effect on them; "


def cautions(comparison: Comparison) -> list[str]:
    """What a reader must know before believing a verdict."""
    told = list(comparison.notes)
    told += _ceilings(comparison)
    unit = comparison.unit
    draws = len({take.prompt if unit == "prompts" else take.seed for take in comparison.takes})
    if draws < MIN_PROMPTS:
        only = "There is one take only" if len(comparison.takes) == 1 else f"There are only {draws} {unit}"
        return [*told, f"{only}, so nothing can be said about others: no intervals, no verdicts."]
    if unit == "seeds":
        told.append("All takes have one prompt: the numbers are about its seeds and say nothing about other prompts.")
    if draws < MIN_PAIRS:
        told.append(
            f"{draws} {unit} are too few for verdicts, which take {MIN_PAIRS}: with fewer, chance alone puts all on "
            "one side too often. What stands below is a description of these videos."
        )
    elif len(comparison.sides) > 1:
        told.append(_corrected(comparison))
    return told


def _ceilings(comparison: Comparison) -> list[str]:
    """Why a perfect video is not all right, where it is not."""
    found = [score.ceiling for row in comparison.rows for score in row.scores if score.ceiling is not None]
    if not found or min(found) > 0.99:
        return []
    return [
        "Accuracies of sprites stand beside their ceiling (as in 0.5 of 0.75): what the oracle says of the exact "
        "world, painted for these prompts at this length. Beyond the training length the world itself does not keep "
        "moving, so a loop may score above it."
    ]


def _corrected(comparison: Comparison) -> str:
    """What the verdicts of a side hold, in words."""
    most = max(sum(comparison.verdicts(side).values()) for side in range(1, len(comparison.sides)))
    return (
        f"The verdicts of a side are corrected for its {most} measures: the chance that any of them is called better, "
        f"worse or different by accident is at most {LEVEL:.0%}, for each side. The intervals are those of each "
        "measure alone."
    ).replace("5%", "5 %")


def take_title(take: Take) -> str:
    """How a take is called on the page."""
    return f"{take.prompt} · seed {take.seed}"


def _hash(script: str) -> str:
    """The script's name in the page's policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Rows by suite, in their order."""
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
    """The curves of one metric in one take; None if no side has more than a point."""
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
