"""The speed-up curve as a table and as a picture, from the rows of `genkit bench curve`."""

from collections.abc import Sequence
from itertools import cycle

from genkit.benchmarks.drawing.canvas import FAINT, Box, Drawing, Word
from genkit.benchmarks.drawing.curves import ticks
from genkit.benchmarks.evaluate.section import insert_section
from genkit.benchmarks.timing.results import Row
from genkit.errors import UsageError

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 30, 50
"""Margins."""
COLOURS = ("#0b6e99", "#c2410c", "#3f7d20", "#7a3e9d", "#b08900", "#111827")
"""Colours of the lines, in order; distinguishable in grey as well."""
BEGIN, END = "<!-- curve: begin -->", "<!-- curve: end -->"
"""Marks around the table in a page."""
FORMER_KEYS = "anew", "under_way"
"""Earlier names of the speed-ups cold and warm, in rows before 0.2."""
HEAD = (
    "| planner | computed by | density asked | density computed | dense SDPA, ms | planner from scratch, ms "
    "| attention, ms | speed-up, cold | speed-up, warm |"
)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = [HEAD, "|---|---|" + "---:|" * 7]
    for row in rows:
        times = f"{row['dense_ms']:.0f} | {row['planner_first_ms'] or 0:.1f} | {row['attention_ms']:.0f}"
        cold, warm = speed_ups(row)
        ratios = f"{cold:.2f} x | {warm:.2f} x"
        lines.append(
            f"| {row['planner']} | {row['impl']} | {row['asked']:g} | {row['density']:.3f} | {times} | {ratios} |"
        )
    return "\n".join(lines) + "\n"


def speed_ups(row: Row) -> tuple[float, float]:
    """Return the speed-up over dense, cold and warm, under their present or their earlier names in the rows."""
    cold, warm = ("cold", "warm") if "cold" in row else FORMER_KEYS
    return row[cold], row[warm]


def insert_table(page: str, rows: Sequence[Row]) -> str:
    """Return a Markdown page with the table between its two marks.

    Raises:
        UsageError: the page does not have them.
    """
    return insert_section(page, BEGIN, END, table(rows))


def picture(rows: Sequence[Row]) -> str:
    """Draw the cold speed-up against the computed density as SVG; the dashed line is the ideal 1 / density."""
    if not rows:
        raise UsageError("there are no rows to draw a curve of; run `genkit bench curve` first")
    highest = max(4.0, max(speed_ups(row)[0] for row in rows) * 1.15)
    names = list(dict.fromkeys(map(_name, rows)))
    shapes = [*_axes(highest), *_legend(names)]
    title = f"Times faster than dense attention over the density, {rows[0]['device_name']}"
    text = Drawing(title=title, width=WIDTH, height=HEIGHT, shapes=shapes).svg()
    ideal = [(1 / (highest - i * (highest - 1) / 40), highest - i * (highest - 1) / 40) for i in range(41)]
    lines = [_line(ideal, highest, FAINT, dashed=True)]
    for colour, name in zip(cycle(COLOURS), names, strict=False):
        points = sorted((row["density"], speed_ups(row)[0]) for row in rows if _name(row) == name)
        lines.append(_line(points, highest, colour, dashed=False))
    return text.replace("</svg>", "\n".join([*lines, "</svg>"]))


def _name(row: Row) -> str:
    return f"{row['planner']}, {row['impl']}"


def _x(density: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * density


def _y(ratio: float, highest: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - ratio / highest)


def _axes(highest: float) -> list[Box | Word]:
    """Return grid and numbers; the line at 1 is dense attention."""
    shapes: list[Box | Word] = [
        Word(LEFT, 14, "times faster than dense SDPA, planning counted in every call"),
        Word(WIDTH - RIGHT, HEIGHT - 12, "density: share of the query-key pairs that is computed", anchor="end"),
    ]
    for ratio in ticks(0, highest, 6):
        y, thick = _y(ratio, highest), 1.5 if ratio == 1 else 0.5
        shapes += [Box(LEFT, y - thick / 2, WIDTH - LEFT - RIGHT, thick, FAINT)]
        shapes += [Word(LEFT - 8, y, f"{ratio:g}", anchor="end")]
    shapes += [Word(_x(d / 10), HEIGHT - BOTTOM + 14, f"{d / 10:g}", anchor="middle") for d in range(0, 11, 2)]
    return shapes


def _legend(names: Sequence[str]) -> list[Box | Word]:
    shapes: list[Box | Word] = []
    lines = [*zip(cycle(COLOURS), names, strict=False), (FAINT, "1 / density")]
    for place, (colour, name) in enumerate(lines):
        y = TOP + 16 + 20 * place
        shapes += [Box(WIDTH - 220, y - 2, 24, 4, colour), Word(WIDTH - 188, y, name)]
    return shapes


def _line(points: Sequence[tuple[float, float]], highest: float, colour: str, *, dashed: bool) -> str:
    places = " ".join(f"{_x(density):.1f},{_y(ratio, highest):.1f}" for density, ratio in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    marks = "" if dashed else "".join(
        f'<circle cx="{_x(density):.1f}" cy="{_y(ratio, highest):.1f}" r="3.5" fill="{colour}"/>'
        for density, ratio in points
    )  # fmt: skip
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>{marks}'
