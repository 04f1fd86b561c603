"""Images of any kind as 8-bit RGB, with a note on what changed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from genkit.errors import UsageError

CLEAR = ("RGBA", "LA", "PA", "RGBa", "La")
"""Modes of Pillow with transparency."""
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Modes of Pillow with more than 8 bits."""


def to_rgb(name: str, image: Any, note: Callable[[str], None]) -> Any:
    """Return a PIL image in RGB, turned upright as its EXIF data says.

    Transparent parts become white.

    Raises:
        UsageError: a deep image has numbers outside 16 bits, or outside [0, 1].
    """
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or image.getexif().get(0x0112, 1) != 1:
        note(f"{name}: the image was turned as its EXIF data says")
    if turned.mode in DEEP:
        note(f"{name}: {turned.mode} numbers were reduced to 8 bits")
        return Image.fromarray(_eight_bits(name, np.asarray(turned))).convert("RGB")
    if turned.mode in CLEAR or "transparency" in turned.info:
        clear = turned.convert("RGBA")
        if np.asarray(clear)[..., 3].min() < 255:
            note(f"{name}: transparent parts became white")
        paper = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(paper, clear).convert("RGB")
    if turned.mode not in ("RGB", "L", "P", "1"):
        note(f"{name}: {turned.mode} colours were converted to RGB")
    return turned.convert("RGB")


def _eight_bits(name: str, numbers: Any) -> Any:
    low, high = float(numbers.min()), float(numbers.max())
    if not np.isfinite([low, high]).all():
        raise UsageError(f"{name} contains NaN or infinity; give finite numbers")
    if np.issubdtype(numbers.dtype, np.floating):
        limit, scale = 1.0, 255.0
    else:
        limit, scale = 65535.0, 1 / 257
    if low < 0 or high > limit:
        raise UsageError(f"{name} has numbers from {low:g} to {high:g}; an image of this kind has 0 to {limit:g}")
    return np.rint(numbers * scale).astype(np.uint8)
