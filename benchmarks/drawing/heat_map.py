"""Tables of numbers as colours, side by side with shared rows."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genkit.benchmarks.drawing.canvas import FAINT, PAPER, Box, Drawing, Word

AMOUNT = ("#eef4fb", "#6aaed6", "#08306b")
"""Colours from little to much of something neutral."""
LOSS = ("#fff4e8", "#fd8d3c", "#7a2504")
"""Colours from little to much of something bad."""
GAIN = LOSS[::-1]
"""Colours from little to much of something good: dark where it is missing."""
EMPTY = "#d9d9d9"
"""Colour of cells without a number."""
MARGIN, GAP, HEAD, FOOT, ROW = 16, 28, 92, 82, 22
"""Space around the drawing; between tables; above and below their cells; height of a cell."""
CELL, NARROW = 46, 14
"""Width of a cell with its number in it, and without."""
NUMBERED = 12
"""Maximum number of columns for numbers in the cells."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One table."""

    title: str
    caption: str
    """Aggregation of several measurements, such as the mean."""
    axis: str
    """Meaning of the columns."""
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    """Values by row and column; None where nothing was measured."""
    low: float
    """Value of the first colour; lower values have it too."""
    high: float
    colours: tuple[str, str, str]

    @property
    def numbered(self) -> bool:
        """True if the cells contain their numbers."""
        return len(self.columns) <= NUMBERED

    @property
    def cell(self) -> int:
        """Width of a cell."""
        return CELL if self.numbered else NARROW

    @property
    def width(self) -> int:
        """Width of the table, its title included."""
        return max(self.cell * len(self.columns), 7 * max(len(self.title), len(self.caption)))

    def colour(self, value: float | None) -> str:
        """Return the colour of a cell; if the scale has zero length, its only value counts as best."""
        if value is None or not math.isfinite(value):
            return EMPTY
        if self.high > self.low:
            place = (value - self.low) / (self.high - self.low)
        else:
            place = 1.0 if (value >= self.high if self.colours == GAIN else value > self.high) else 0.0
        return blend(self.colours, min(1.0, max(0.0, place)))


def heat_maps(
    title: str, about: str, row_axis: str, rows: Sequence[str], panels: Sequence[Panel], empty: str
) -> Drawing:
    """Draw panels with shared rows.

    Args:
        title: the heading.
        about: the line below it.
        row_axis: meaning of the rows.
        rows: their names, from the top.
        panels: the tables, from the left.
        empty: meaning of a cell without a number.
    """
    left = MARGIN + 7 * max(map(len, [*rows, row_axis])) + 10
    shapes: list[Box | Word] = [Word(MARGIN, MARGIN + 8, title, 16), Word(MARGIN, MARGIN + 30, about, 12, FAINT)]
    bottom = MARGIN + HEAD + ROW * len(rows)
    shapes += [Word(left - 10, _middle(index), name, anchor="end") for index, name in enumerate(rows)]
    shapes.append(Word(left - 10, MARGIN + HEAD - 9, row_axis, 11, FAINT, "end"))
    x = left
    for panel in panels:
        shapes += [*_head(panel, x), *_cells(panel, x, rows), *_scale(panel, x, bottom + 14)]
        x += panel.width + GAP
    shapes += [Box(left, bottom + 54, 12, 12, EMPTY), Word(left + 18, bottom + 60, empty, 11, FAINT)]
    width = max(x - GAP, MARGIN + 8 * len(title), MARGIN + 7 * len(about)) + MARGIN
    return Drawing(title=title, width=width, height=bottom + FOOT, shapes=shapes)


def _middle(row: int) -> float:
    return MARGIN + HEAD + ROW * (row + 0.5)


def _head(panel: Panel, left: int) -> Iterator[Word]:
    """Yield title, caption and names of the columns, only every fifth where they are narrow."""
    top = MARGIN + HEAD
    yield Word(left, top - 42, panel.title, 13)
    yield Word(left, top - 26, panel.caption, 11, FAINT)
    every = 1 if panel.numbered else 5
    for index in range(0, len(panel.columns), every):
        name = f"{panel.axis} {panel.columns[index]}" if index == 0 and panel.numbered else panel.columns[index]
        yield Word(left + panel.cell * (index + 0.5), top - 9, name, 11, FAINT, "middle")


def _cells(panel: Panel, left: int, rows: Sequence[str]) -> Iterator[Box | Word]:
    for row, values in enumerate(panel.values):
        for column, value in enumerate(values):
            fill, x = panel.colour(value), left + panel.cell * column
            shown = "-" if value is None else f"{value:.3f}" if math.isfinite(value) else "not a number"
            hint = f"{rows[row]}, {panel.axis} {panel.columns[column]}: {shown}"
            yield Box(x, _middle(row) - ROW / 2, panel.cell - 1, ROW - 1, fill, hint)
            if panel.numbered and value is not None:
                yield Word(
                    x + panel.cell / 2,
                    _middle(row),
                    shown if math.isfinite(value) else "NaN",
                    11,
                    readable(fill),
                    "middle",
                )


def _scale(panel: Panel, left: int, top: int) -> Iterator[Box | Word]:
    """Yield the colours from low to high, with the numbers at their ends."""
    parts, width = 24, 5
    for part in range(parts):
        yield Box(left + part * width, top, width, 12, blend(panel.colours, part / (parts - 1)))
    yield Word(left, top + 24, f"{panel.low:.3g}", 11, FAINT)
    yield Word(left + parts * width, top + 24, f"{panel.high:.3g}", 11, FAINT, "end")


def blend(colours: tuple[str, str, str], place: float) -> str:
    """Return the colour at ``place`` in [0, 1] between three."""
    first = min(1, int(place * 2))
    share = place * 2 - first
    one, other = (_channels(colour) for colour in colours[first : first + 2])
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(one, other, strict=True))


def readable(paper: str) -> str:
    """Return black or white, whichever has more contrast; it is at least 4.5 to 1 on any colour."""
    return "#000000" if luminance(paper) > 0.179 else PAPER


def luminance(colour: str) -> float:
    """Return the perceived lightness of a colour, in [0, 1]."""
    red, green, blue = (channel / 255 for channel in _channels(colour))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
