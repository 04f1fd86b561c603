"""Videos brought to the rate and the length of a run."""

from typing import Any

import numpy as np

from genkit.errors import UsageError

SAME = 0.01
"""Difference of two rates, as a share, that is not worth a new frame."""


def at_rate(frames: list[Any], found: float, wanted: float) -> list[Any]:
    """Return the frame shown at each moment of another rate, so that motion keeps its speed.

    ``found`` and ``wanted``: frames per second.
    """
    if abs(found - wanted) <= SAME * wanted:
        return frames
    count = max(1, round(len(frames) * wanted / found))
    places = np.minimum(np.floor((np.arange(count) + 0.5) * found / wanted).astype(int), len(frames) - 1)
    return [frames[place] for place in places]


def cut(name: str, frames: list[Any], wanted: int, advice: str) -> list[Any]:
    """Return the first ``wanted`` frames.

    Raises:
        UsageError: there are fewer.
    """
    if len(frames) < wanted:
        raise UsageError(f"{name} has {len(frames)} frames and {wanted} are needed; {advice}")
    return frames[:wanted]


def legal_length(frames: int, step: int) -> int:
    """Return the largest legal length, ``step * k + 1``, of at most that many frames."""
    return (frames - 1) // step * step + 1
