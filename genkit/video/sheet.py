"""Contact sheets: videos as one picture, frames in reading order with their times.

The font is the one inside Pillow, the same on every machine; missing glyphs (for example CJK) become boxes.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import UsageError
from genkit.files.frames import as_frames, to_uint8
from genkit.files.whole import replacing
from genkit.video.recipe import GENERATOR

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

GAP = 8
"""Empty pixels between frames and around the sheet."""
PAPER, INK, FAINT = "white", "#202020", "#707070"


def contact_sheet(
    videos: Sequence[tuple[str, Any, float]], *, columns: int = 8, every: int | None = None, width: int = 128
) -> "Image":
    """Draw videos one below the other, each as a caption and rows of frames with the time in seconds below.

    Args:
        videos: each with its caption (may be empty), its frames in any form that :func:`genkit.files.frames.as_frames`
            takes, and its frames per second.
        columns: frames per row.
        every: show every n-th frame, starting with the first; None takes the smallest n that needs at most two rows.
        width: pixels of one frame in the sheet. Smaller frames are enlarged by the largest whole factor that fits, with
            sharp pixels.

    Raises:
        UsageError: there is no video, a number is below 1, or frames are not one RGB video.
    """
    from PIL import Image

    for name, value in (("columns", columns), ("every", 1 if every is None else every), ("width", width)):
        if value < 1:
            raise UsageError(f"{name}={value} must be at least 1")
    if not videos:
        raise UsageError("a contact sheet needs at least one video")
    strips = [_strip(caption, as_frames(frames), fps, columns, every, width) for caption, frames, fps in videos]
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips) + GAP), PAPER)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def save_sheet(sheet: "Image", path: str | os.PathLike[str]) -> Path:
    """Write a contact sheet as PNG, as a whole or not at all; missing folders are created.

    Raises:
        UsageError: the name does not end in ``.png``, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"cannot write {str(path)!r}: the name of a contact sheet must end in .png")
    try:
        with replacing(path) as (part,):
            write_png(sheet, part)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another place") from error
    return path


def write_png(picture: "Image", path: Path) -> None:
    """Write a picture with genkit's mark, so that a later one may replace it, and without any word of the request."""
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text("Software", GENERATOR)
    picture.save(path, format="png", pnginfo=mark)


def shown_frames(count: int, columns: int, every: int | None) -> range:
    """Return the indices of the frames that a sheet shows."""
    return range(0, count, -(-count // (2 * columns)) if every is None else every)


def _strip(caption: str, frames_THWC: NDArray[Any], fps: float, columns: int, every: int | None, width: int) -> "Image":
    from PIL import Image, ImageDraw

    shown = shown_frames(len(frames_THWC), columns, every)
    pictures = [_thumbnail(to_uint8(frames_THWC[index]), width) for index in shown]
    cell_width, cell_height = pictures[0].width + GAP, pictures[0].height + 2 * GAP + 4
    across = min(columns, len(pictures))
    small, large = _font(11), _font(14)
    lines = _wrap(caption, large, cell_width * max(across, 4) - GAP)
    head = GAP + 20 * len(lines)
    size = (
        GAP + cell_width * (across if not lines else max(across, 4)),
        head + cell_height * -(-len(shown) // columns),
    )
    strip = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        draw.text((GAP, GAP + 20 * row), line, fill=INK, font=large)
    for place, (index, picture) in enumerate(zip(shown, pictures, strict=True)):
        left, top = GAP + cell_width * (place % columns), head + cell_height * (place // columns)
        strip.paste(picture, (left, top))
        draw.text((left, top + picture.height + 2), f"{index / fps:.2f} s", fill=FAINT, font=small)
    return strip


def _thumbnail(frame_HWC: NDArray[np.uint8], width: int) -> "Image":
    from PIL import Image

    picture = Image.fromarray(frame_HWC)
    if picture.width <= width:
        factor = width // picture.width
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)


def _font(size: int) -> "Font":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _wrap(text: str, font: "Font", width: int) -> list[str]:
    """Break a caption between words, and inside a word that is too long or in a script without spaces."""
    lines: list[str] = []
    for word in text.encode("utf-8", "replace").decode().split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
