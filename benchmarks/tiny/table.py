"""The results of ``planners_tiny`` as a table for the documentation, and whether two planners keep what is promised.

Shares are means over the readings of a video and then over the prompts that all planners of a carrier have. The
difference to dense is paired by prompt, with an interval that holds at least 95 %.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

from genkit.benchmarks.evaluate.ledger import Row
from genkit.benchmarks.evaluate.sign_flips import LEVEL, MIN_PAIRS, chances
from genkit.benchmarks.evaluate.stats import UNIT, Estimate, Samples, Stat, estimate, paired_changes, paired_difference
from genkit.errors import UsageError

DENSE = "dense"
ATTRIBUTES = ("color", "shape", "size", "motion", "background")
PROMISED = ("threshold", "adaspa")
MOST_LOST = 0.03
"""Of the joint accuracy, in [0, 1]."""
MOST_DENSITY = 0.35
BEGIN, END = "<!-- planners_tiny: begin -->", "<!-- planners_tiny: end -->"
HEAD = ("planner", "density", "with warm-up", "PSNR", "SSIM", "joint", "against dense", *ATTRIBUTES, "seconds")


def table(rows: Sequence[Row]) -> str:
    """Markdown: one table for each carrier, the dense row first."""
    parts = [_heading(rows)]
    for carrier in dict.fromkeys(row["carrier"] for row in rows):
        found = complete(rows, carrier)
        count = len({row["number"] for row in found})
        parts.append(f"Carrier: {carrier}. {count} prompts.")
        lines = [_cells(HEAD), "|---" * len(HEAD) + "|"]
        lines += [_line(found, planner) for planner in dict.fromkeys(row["planner"] for row in found)]
        parts += ["\n".join(lines), _beyond_chance(found)]
    return "\n\n".join(parts) + "\n"


def complete(rows: Sequence[Row], carrier: str) -> list[Row]:
    """The rows of a carrier on the prompts that all of its planners have, the dense ones first.

    Raises:
        UsageError: no prompt has all of them.
    """
    mine = [row for row in rows if row["carrier"] == carrier]
    planners = {row["planner"] for row in mine}
    found = [row for row in mine if {r["planner"] for r in mine if r["number"] == row["number"]} == planners]
    if not found:
        raise UsageError(f"no prompt has been made by all planners yet with the carrier {carrier}; run it to the end")
    return sorted(found, key=lambda row: row["planner"] != DENSE)


def shares(rows: Iterable[Row], attribute: str) -> Samples:
    """The readings of each prompt in which an attribute is right."""
    return {str(row["number"]): [Stat.of_curve(row["right"][attribute])] for row in rows}


def against_dense(rows: Sequence[Row], planner: str) -> Estimate:
    """How much higher a planner's joint accuracy is than that of dense attention."""
    return paired_difference(shares(_of(rows, DENSE), "joint"), shares(_of(rows, planner), "joint"), bounds=UNIT.bounds)


def _beyond_chance(rows: Sequence[Row]) -> str:
    """Which planners differ from dense, corrected for the number of them in one table."""
    changes = {planner: _changes(rows, planner) for planner in dict.fromkeys(row["planner"] for row in rows)}
    chance = chances({planner: found for planner, found in changes.items() if planner != DENSE})
    if len({row["number"] for row in rows}) < MIN_PAIRS:
        return f"Too few prompts to tell any planner from dense attention; it takes {MIN_PAIRS}."
    told: dict[str, list[str]] = {"worse": [], "better": [], "not told from dense": [], "never sparse": []}
    for planner, share in chance.items():
        if not _ran(_of(rows, planner)):
            told["never sparse"].append(f"`{planner}`")
            continue
        low, high = (end or 0.0 for end in (against_dense(rows, planner).low, against_dense(rows, planner).high))
        apart = share <= LEVEL and not low <= 0 <= high
        told["not told from dense" if not apart else "worse" if high < 0 else "better"].append(f"`{planner}`")
    said = "; ".join(f"{word}: {', '.join(names)}" for word, names in told.items() if names)
    return f"Joint accuracy against dense, corrected for the {len(chance)} planners of the table: {said}."


def _changes(rows: Sequence[Row], planner: str) -> dict[str, float]:
    return paired_changes(shares(_of(rows, DENSE), "joint"), shares(_of(rows, planner), "joint"))


def kept_promises(rows: Sequence[Row]) -> tuple[bool, str]:
    """Whether the promised planners stay near dense at a low density, and a line for each that says so.

    Judged with the carrier whose dense videos the oracle reads best: where dense attention shows little, there is
    little to keep.
    """
    carriers = dict.fromkeys(row["carrier"] for row in rows)
    best = max(carriers, key=lambda carrier: _mean(_of(complete(rows, carrier), DENSE), "joint"))
    found, lines, all_kept = complete(rows, best), [], True
    for planner in PROMISED:
        mine = _of(found, planner)
        if not mine:
            lines.append(f"{planner}: not measured")
            continue
        density, against = fmean(row["density"] for row in mine), against_dense(found, planner)
        change = against.value
        kept = change >= -MOST_LOST and density <= MOST_DENSITY
        all_kept &= kept
        lines.append(
            f"{planner} (carrier {best}): {100 * change:+.1f} points of joint accuracy at density {density:.3f}, "
            f"{'as' if kept else 'NOT as'} promised (at least {-100 * MOST_LOST:.0f} at most {MOST_DENSITY}); of other "
            f"prompts the measurement says {_change(against)}"
        )
    return all_kept, "\n".join(lines)


def write_section(path: Path, rows: Sequence[Row]) -> None:
    """Put the table between its two marks in a Markdown file.

    Raises:
        UsageError: the file has no such marks.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if BEGIN not in text or END not in text.partition(BEGIN)[2]:
        raise UsageError(f"{str(path)!r} has no place for the table; put the lines {BEGIN} and {END} into it")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


def _heading(rows: Sequence[Row]) -> str:
    if not rows:
        raise UsageError("there are no results to make a table of; run planners_tiny first")
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
    name = planner if not far else f"`{mine[0]['plugins'][-1]}`{_refused(mine)}"
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


def _ran(rows: Iterable[Row]) -> bool:
    """Whether a planner left out anything at all."""
    return any(row["sparse_calls"] for row in rows)


def _refused(rows: Sequence[Row]) -> str:
    """What stands beside the name of a planner whose calls did not all run as asked."""
    refused = sum(row["refused_calls"] for row in rows)
    if not _ran(rows):
        return f" ({'every call was refused' if refused else 'no call was sparse'}: these videos are dense)"
    return (
        f" ({refused / (refused + sum(row['sparse_calls'] for row in rows)):.0%} of its calls refused)"
        if refused
        else ""
    )


def _change(change: Estimate) -> str:
    said = f"{100 * change.value:+.1f}"
    if change.low is None or change.high is None:
        return said
    return f"{said} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _mean(rows: Sequence[Row], attribute: str) -> float:
    return estimate(shares(rows, attribute)).value


def _of(rows: Sequence[Row], planner: str) -> list[Row]:
    return [row for row in rows if row["planner"] == planner]


def _cells(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
