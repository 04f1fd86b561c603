"""Goals that a GPU has to reach, checked on the rows of `genkit bench gpu`."""

from collections.abc import Iterable
from dataclasses import dataclass

from genkit.benchmarks.timing.results import Row

DENSE_GOAL = 0.9
"""Share of the speed of SDPA's flash backend that the kernel must have at density 1."""
SPARSE_GOAL = 0.85
"""Share of the ideal ``1 / density`` by which a sparse call must be faster than the kernel's own dense call."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One number that has to be reached."""

    what: str
    value: float
    needed: float

    @property
    def reached(self) -> bool:
        """True if the value is at least what is needed."""
        return self.value >= self.needed


def latest(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of the last finished run of each part."""
    rows = list(rows)
    last = {row["part"]: row["begun"] for row in rows if row["bench"] == "finished"}
    return [row for row in rows if last.get(row["part"]) == row["begun"]]


def goal_lines(rows: Iterable[Row]) -> list[str]:
    """Return a line for each goal, and one for each timed step."""
    rows = list(rows)
    lines = [
        f"{'reached' if goal.reached else 'missed '}  {goal.what}: {goal.value:.2f}, {goal.needed:.2f} is needed"
        for goal in goals(rows)
    ]
    for row in rows:
        if row["bench"] == "step" and row["side"] != "dense" and row.get("ratio") is not None:
            lines.append(f"step     {row['model']} with {row['side']}: {row['ratio']:.2f} x dense, {row['ms']:.0f} ms")
    return lines or ["nothing was timed yet"]


def goals(rows: Iterable[Row]) -> list[Goal]:
    """Return the goals of every timed shape."""
    shapes: dict[str, list[Row]] = {}
    for row in rows:
        if row["bench"] == "attention" and row["unavailable"] is None:
            shapes.setdefault(row["shape"], []).append(row)
    return [goal for name, found in shapes.items() for goal in _of_shape(name, found)]


def _of_shape(name: str, rows: list[Row]) -> list[Goal]:
    own = next((row for row in rows if row["kind"] == "kernel" and row["asked"] == 1), None)
    if own is None:
        return []
    found = []
    if "sdpa flash" in own["ratios"]:
        what = f"{name}: dense speed as a share of SDPA's flash backend"
        found.append(Goal(what=what, value=own["ratios"]["sdpa flash"], needed=DENSE_GOAL))
    for row in rows:
        if row["kind"] == "kernel" and row["asked"] < 1:
            what = f"{name}: {row['side']}, times faster than its own dense speed"
            found.append(Goal(what=what, value=own["ms"] / row["ms"], needed=SPARSE_GOAL / row["density"]))
    return found
