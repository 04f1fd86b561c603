"""The results of ``planners`` as a table for the documentation, and the goals of two planners.

Shares are means over the readings of a video and then over the prompts that all planners of an extension have. The
difference to dense is paired by prompt, with an interval of at least 95 %.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from textwrap import fill

from genkit.benchmarks.evaluate.ledger import Row
from genkit.benchmarks.evaluate.section import insert_section
from genkit.benchmarks.evaluate.sign_flips import LEVEL, MIN_PAIRS, chances
from genkit.benchmarks.evaluate.stats import UNIT, Estimate, Samples, Stat, estimate, paired_changes, paired_difference
from genkit.errors import UsageError

DENSE = "dense"
ATTRIBUTES = ("color", "shape", "size", "motion", "background")
WITH_GOALS = ("threshold", "adaspa")
MAX_LOSS = 0.03
"""Maximum loss of joint accuracy, in [0, 1]."""
MAX_DENSITY = 0.35
BEGIN, END = "<!-- planners_tiny: begin -->", "<!-- planners_tiny: end -->"
HEAD = ("planner", "density", "with warm-up", "PSNR", "SSIM", "joint", "against dense", *ATTRIBUTES, "seconds")


def table(rows: Sequence[Row]) -> str:
    """Return Markdown: one table for each extension, the dense row first."""
    parts = [_wrap(_heading(rows))]
    for extension in dict.fromkeys(row["carrier"] for row in rows):
        found = complete(rows, extension)
        count = len({row["number"] for row in found})
        parts.append(f"Extension: {extension}. {count} prompts.")
        lines = [_cells(HEAD), "|---" * len(HEAD) + "|"]
        lines += [_line(found, planner) for planner in dict.fromkeys(row["planner"] for row in found)]
        parts += ["\n".join(lines), _wrap(_beyond_chance(found))]
    return "\n\n".join(parts) + "\n"


def complete(rows: Sequence[Row], extension: str) -> list[Row]:
    """Return the rows of an extension on the prompts that all of its planners have, the dense ones first.

    Raises:
        UsageError: no prompt has all of them.
    """
    mine = [row for row in rows if row["carrier"] == extension]
    planners = {row["planner"] for row in mine}
    found = [row for row in mine if {r["planner"] for r in mine if r["number"] == row["number"]} == planners]
    if not found:
        raise UsageError(f"no prompt was made by all planners with the extension {extension} yet; finish the run")
    return sorted(found, key=lambda row: row["planner"] != DENSE)


def shares(rows: Iterable[Row], attribute: str) -> Samples:
    """Return the readings of each prompt in which an attribute is right."""
    return {str(row["number"]): [Stat.of_curve(row["right"][attribute])] for row in rows}


def against_dense(rows: Sequence[Row], planner: str) -> Estimate:
    """Return by how much a planner's joint accuracy exceeds that of dense attention."""
    return paired_difference(shares(_of(rows, DENSE), "joint"), shares(_of(rows, planner), "joint"), bounds=UNIT.bounds)


def _beyond_chance(rows: Sequence[Row]) -> str:
    """Return which planners differ from dense, corrected for the number of them in one table."""
    changes = {planner: _changes(rows, planner) for planner in dict.fromkeys(row["planner"] for row in rows)}
    chance = chances({planner: found for planner, found in changes.items() if planner != DENSE})
    if len({row["number"] for row in rows}) < MIN_PAIRS:
        return f"Too few prompts to distinguish a planner from dense attention; {MIN_PAIRS} are needed."
    groups: dict[str, list[str]] = {"worse": [], "better": [], "not distinguishable": [], "never sparse": []}
    for planner, share in chance.items():
        if not _is_sparse(_of(rows, planner)):
            groups["never sparse"].append(f"`{planner}`")
            continue
        low, high = (end or 0.0 for end in (against_dense(rows, planner).low, against_dense(rows, planner).high))
        apart = share <= LEVEL and not low <= 0 <= high
        groups["not distinguishable" if not apart else "worse" if high < 0 else "better"].append(f"`{planner}`")
    found = "; ".join(f"{word}: {', '.join(names)}" for word, names in groups.items() if names)
    return f"Joint accuracy against dense, corrected for the {len(chance)} planners of the table: {found}."


def _changes(rows: Sequence[Row], planner: str) -> dict[str, float]:
    return paired_changes(shares(_of(rows, DENSE), "joint"), shares(_of(rows, planner), "joint"))


def check_goals(rows: Sequence[Row]) -> tuple[bool, str]:
    """Return whether the planners with goals stay near dense at a low density, and a line for each.

    Checked with the extension whose dense videos the oracle reads best: where dense attention shows little, there is
    little to keep.
    """
    extensions = dict.fromkeys(row["carrier"] for row in rows)
    best = max(extensions, key=lambda extension: _mean(_of(complete(rows, extension), DENSE), "joint"))
    found, lines, all_reached = complete(rows, best), [], True
    for planner in WITH_GOALS:
        mine = _of(found, planner)
        if not mine:
            lines.append(f"{planner}: not measured")
            continue
        density, against = fmean(row["density"] for row in mine), against_dense(found, planner)
        change = against.value
        reached = change >= -MAX_LOSS and density <= MAX_DENSITY
        all_reached &= reached
        lines.append(
            f"{planner} (extension {best}): {100 * change:+.1f} points of joint accuracy at density {density:.3f}, "
            f"the goal of at least {-100 * MAX_LOSS:.0f} at most {MAX_DENSITY} is {'reached' if reached else 'MISSED'};"
            f" the interval over other prompts is {_change(against)}"
        )
    return all_reached, "\n".join(lines)


def write_section(path: Path, rows: Sequence[Row]) -> None:
    """Write the table between its two marks in a Markdown file.

    Raises:
        UsageError: the file has no such marks.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(insert_section(page, BEGIN, END, table(rows)), encoding="utf-8")


def _heading(rows: Sequence[Row]) -> str:
    if not rows:
        raise UsageError("there are no results to make a table of; run genkit.benchmarks.tiny.planners first")
    row = rows[0]
    versions = ", ".join(f"{name} {number}" for name, number in row["versions"].items())
    return (
        f"{row['frames']} frames, {row['steps']} steps, {row['device_name']} ({row['device']}, {row['threads']} "
        f"threads), {row['dtype']}, {versions}, weights {row['weights'][:12]}."
    )


def _line(rows: Sequence[Row], planner: str) -> str:
    mine = _of(rows, planner)
    far = planner != DENSE
    change = against_dense(rows, planner) if far else None
    name = planner if not far else f"`{mine[0]['plugins'][-1]}`{_refusals(mine)}"
    return _cells(
        (
            name,
            f"{fmean(row['density'] for row in mine):.3f}",
            f"{fmean(row['with_warm_up'] for row in mine):.3f}",
            f"{fmean(row['psnr'] for row in mine):.1f}" if far else "",
            f"{fmean(row['ssim'] for row in mine):.3f}" if far else "",
            f"{100 * _mean(mine, 'joint'):.1f}",
            _change(change) if change else "",
            *(f"{100 * _mean(mine, attribute):.1f}" for attribute in ATTRIBUTES),
            f"{median(row['seconds'] for row in mine):.1f}",
        )
    )


def _is_sparse(rows: Iterable[Row]) -> bool:
    """Return True if a planner left out anything at all."""
    return any(row["sparse_calls"] for row in rows)


def _refusals(rows: Sequence[Row]) -> str:
    """Return a remark for a planner whose calls did not all run as asked."""
    refused = sum(row["refused_calls"] for row in rows)
    if not _is_sparse(rows):
        return f" ({'every call was refused' if refused else 'no call was sparse'}: these videos are dense)"
    return (
        f" ({refused / (refused + sum(row['sparse_calls'] for row in rows)):.0%} of its calls refused)"
        if refused
        else ""
    )


def _change(change: Estimate) -> str:
    points = f"{100 * change.value:+.1f}"
    if change.low is None or change.high is None:
        return points
    return f"{points} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _mean(rows: Sequence[Row], attribute: str) -> float:
    return estimate(shares(rows, attribute)).value


def _of(rows: Sequence[Row], planner: str) -> list[Row]:
    return [row for row in rows if row["planner"] == planner]


def _wrap(text: str) -> str:
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
