"""Curves along the videos of one take, as small SVG drawings without dependencies.

Every side has its own colour and its own dashes, so that no reader depends on colours alone; both come from the page's
style, which supports light and dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 420, 140
"""Size of the drawing in its own units; the page scales it."""
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 8, 22
"""Margins."""
TICKS = 4
"""Approximate number of marks of an axis."""
DASHES = ("none", "7 3", "2 2", "9 3 2 3", "4 4", "1 3")
"""Dash patterns of the first sides; each side has a colour of the page too."""
WIDTHS = (2, 4, 1)
"""Line widths in pixels of the first sides, and of those that reuse colours and dashes."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """The curve of one side."""

    side: int
    """Number of the side, which determines colour and dashes."""
    values: tuple[float, ...]
    """Values, evenly spaced over the video."""
    seconds: float
    """Duration of the video."""


def line_styles(sides: int) -> Markup:
    """Return a CSS rule for the line of each side; up to 18 sides no two look alike, even without colours."""
    template = Markup(
        ".curves .side-{n}, .key .side-{n} {{ stroke: var(--c{colour}); stroke-dasharray: {dashes}; "
        "stroke-width: {width}; }}\n"
    )
    rules = []
    for n in range(sides):
        again, colour = divmod(n, len(DASHES))
        width = WIDTHS[again % len(WIDTHS)]
        rules.append(template.format(n=n, colour=colour, dashes=DASHES[colour], width=width))
    return Markup("").join(rules)


def curves(title: str, lines: Sequence[Line]) -> Markup:
    """Draw the curves of one metric over time; ``title`` is the text for screen readers.

    The element has the class ``curves`` and, for the mark that follows the players, ``data-seconds``, ``data-left``
    and ``data-right``: the span of the time axis and its ends.
    """
    values = [value for line in lines for value in line.values]
    low, high = _span(min(values), max(values))
    seconds = max(line.seconds for line in lines)
    parts = [*_value_axis(low, high), *_time_axis(seconds)]
    parts += [_polyline(line, low, high, seconds) for line in lines]
    parts.append(
        Markup('<line class="now" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>').format(
            x=LEFT, top=TOP, bottom=HEIGHT - BOTTOM
        )
    )
    head = Markup(
        '<svg class="curves" viewBox="0 0 {width} {height}" role="img" aria-label="{title}" '
        'data-seconds="{seconds}" data-left="{left}" data-right="{right}">'
    )
    about = {"width": WIDTH, "height": HEIGHT, "title": title, "left": LEFT, "right": WIDTH - RIGHT}
    return head.format(**about, seconds=_number(seconds)) + Markup("").join(parts) + Markup("</svg>")


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Return round numbers from ``low`` to ``high``, about ``count`` of them, in steps of 1, 2 or 5 times 10^n."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _span(low: float, high: float) -> tuple[float, float]:
    """Return the ends of the value axis: slightly beyond the values, and never equal."""
    extent = high - low if high - low > 1e-9 * max(abs(low), abs(high)) else 0.0
    room = 0.05 * extent or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _x(seconds: float, whole: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / whole


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)


def _polyline(line: Line, low: float, high: float, seconds: float) -> Markup:
    count = len(line.values)
    places = (
        (_x((index + 0.5) / count * line.seconds, seconds), _y(value, low, high))
        for index, value in enumerate(line.values)
    )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Markup('<polyline class="side-{side}" points="{points}"/>').format(side=line.side, points=points)


def _value_axis(low: float, high: float) -> list[Markup]:
    template = Markup(
        '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        '<text x="{at}" y="{base}" class="value">{n}</text>'
    )
    rows = ((value, _y(value, low, high)) for value in ticks(low, high))
    return [
        template.format(
            left=LEFT, right=WIDTH - RIGHT, at=LEFT - 6, n=_number(value), y=f"{y:.1f}", base=f"{y + 4:.1f}"
        )
        for value, y in rows
    ]


def _time_axis(seconds: float) -> list[Markup]:
    template = Markup('<text x="{x}" y="{y}" class="time">{value} s</text>')
    return [
        template.format(x=f"{_x(value, seconds):.1f}", y=HEIGHT - 6, value=_number(value))
        for value in ticks(0, seconds)
    ]


def _number(value: float) -> str:
    return f"{0.0 if abs(value) < 1e-12 else value:.6g}"
