"""Masks: black and white frames, white where something new is made."""

from collections.abc import Callable
from typing import Any

import numpy as np

WHITE = 128
"""Grey from which on a place counts as white, of 255."""
NOISE = 32
"""Difference from black or white that a codec may cause, and that is not worth a note."""


def black_and_white(frames: list[Any]) -> list[Any]:
    """Return frames of mode L with 0 and 255 alone; a grey becomes the nearer one."""
    from PIL import Image

    grey = (np.asarray(frame.convert("L")) for frame in frames)
    return [Image.fromarray(np.where(frame >= WHITE, 255, 0).astype(np.uint8)) for frame in grey]


def note_grey(name: str, frames: list[Any], note: Callable[[str], None]) -> None:
    """Note if frames have other values than black and white."""
    grey = (np.asarray(frame.convert("L")) for frame in frames)
    if any(((frame > NOISE) & (frame < 255 - NOISE)).any() for frame in grey):
        note(f"{name}: grey values became black below {WHITE} and white from there on")
