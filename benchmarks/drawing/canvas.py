"""A drawing of boxes and words that can be saved as SVG and as PNG and looks the same in both.

The background is drawn too, so that the picture is equally readable on a light and on a dark page.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

from genkit.errors import UsageError
from genkit.files.whole import replacing
from genkit.video.ours import SVG_MARK
from genkit.video.sheet import write_png

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER, INK, FAINT = "#ffffff", "#202020", "#6a6a6a"
SHARPNESS = 2
"""Pixels of a PNG per unit of a drawing."""
SUFFIXES = (".svg", ".png")


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    left: float
    top: float
    width: float
    height: float
    fill: str
    """Colour as ``#rrggbb``."""
    hint: str = ""
    """Tooltip in a browser."""


@dataclass(frozen=True)
class Word:
    """A line of text."""

    x: float
    """Position of its start, middle or end; see ``anchor``."""
    y: float
    """Vertical middle."""
    text: str
    size: int = 12
    fill: str = INK
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Boxes and words, the first ones at the bottom."""

    title: str
    """Text for screen readers."""
    width: int
    height: int
    shapes: Sequence[Box | Word]

    def svg(self) -> str:
        """Return the drawing as a whole SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" font-family="sans-serif" role="img">'
        )
        paper = _svg(Box(0, 0, self.width, self.height, PAPER))
        about = f"{SVG_MARK}<title>{escape(self.title)}</title>"
        return "\n".join([head, about, paper, *map(_svg, self.shapes), "</svg>\n"])

    def image(self) -> "Image":
        """Return the drawing as pixels, ``SHARPNESS`` per unit."""
        from PIL import Image, ImageDraw, ImageFont

        picture = Image.new("RGB", (self.width * SHARPNESS, self.height * SHARPNESS), PAPER)
        pen = ImageDraw.Draw(picture)
        for shape in self.shapes:
            if isinstance(shape, Box):
                left, top = round(shape.left * SHARPNESS), round(shape.top * SHARPNESS)
                right, bottom = ((shape.left + shape.width), (shape.top + shape.height))
                pen.rectangle((left, top, round(right * SHARPNESS) - 1, round(bottom * SHARPNESS) - 1), fill=shape.fill)
            else:
                place, font = (shape.x * SHARPNESS, shape.y * SHARPNESS), ImageFont.load_default(shape.size * SHARPNESS)
                pen.text(place, shape.text, fill=shape.fill, font=font, anchor=_PILLOW[shape.anchor])
        return picture

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing as SVG or PNG, by the suffix; the file appears whole or not at all.

        Raises:
            UsageError: the suffix is neither, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"cannot write {str(path)!r}: the name of a picture must end in {' or '.join(SUFFIXES)}")
        try:
            with replacing(path) as (part,):
                self.write(part, path.suffix)
        except OSError as error:
            raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another place") from error
        return path

    def write(self, part: Path, suffix: str) -> None:
        """Write the drawing to ``part`` in the format of ``suffix``, with a mark that allows genkit to replace it."""
        if suffix.lower() == ".svg":
            part.write_text(self.svg(), "utf-8")
        else:
            write_png(self.image(), part)


_PILLOW = {"start": "lm", "middle": "mm", "end": "rm"}


def _svg(shape: Box | Word) -> str:
    if isinstance(shape, Box):
        hint = f"<title>{escape(shape.hint)}</title>" if shape.hint else ""
        place = f'x="{shape.left:g}" y="{shape.top:g}" width="{shape.width:g}" height="{shape.height:g}"'
        return f'<rect {place} fill="{shape.fill}">{hint}</rect>'
    baseline = shape.y + 0.36 * shape.size
    place = f'x="{shape.x:g}" y="{baseline:g}" font-size="{shape.size}" text-anchor="{shape.anchor}"'
    return f'<text {place} fill="{shape.fill}">{escape(shape.text)}</text>'
