"""Arrays of NumPy and torch as 8-bit frames: channels first or last, whole numbers or [0, 1]."""

from collections.abc import Callable
from typing import Any

import numpy as np

from genkit.errors import UsageError

CHANNELS = (1, 3, 4)
"""Grey, RGB, and RGB with transparency."""
ROUNDING = 1e-6


def frames_of(name: str, value: Any, note: Callable[[str], None]) -> list[Any]:
    """Return the frames of an array as PIL images: one for an image, several for a video.

    Args:
        name: the input, for messages.
        value: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``; for a video ``[T, H, W]``, ``[T, H, W, C]`` or
            ``[T, C, H, W]`` or ``[C, T, H, W]``; with one more axis of 1 in front. Numbers of 8 or 16 bits, or floating
            point in [0, 1]; also only 0 and 255.
        note: called with a sentence on numbers that were rounded.

    Raises:
        UsageError: another shape, type or range.
    """
    from PIL import Image

    numbers = _eight_bits(name, _plain(value), note)
    return [Image.fromarray(np.ascontiguousarray(frame)) for frame in _channels_last(name, numbers)]


def describe(value: Any) -> str:
    """Return kind, type and shape of an array, for a recipe."""
    kind = type(value).__module__.partition(".")[0]
    return f"{kind} {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def bytes_of(value: Any) -> bytes:
    """Return the numbers of an array, row by row."""
    return bytes(np.ascontiguousarray(_plain(value)).tobytes())


def _plain(value: Any) -> Any:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    import torch

    here = value.detach().cpu()
    return (here.float() if here.dtype == torch.bfloat16 else here).numpy()


def _eight_bits(name: str, numbers: Any, note: Callable[[str], None]) -> Any:
    if numbers.dtype == np.bool_:
        return numbers.astype(np.uint8) * 255
    if numbers.dtype == np.uint8:
        return numbers
    if not numbers.size or not np.isfinite(numbers).all():
        raise UsageError(f"{name} contains NaN or infinity, or no numbers at all; give finite numbers")
    low, high = float(numbers.min()), float(numbers.max())
    floating = np.issubdtype(numbers.dtype, np.floating)
    limit = 1.0 if floating else 65535.0 if numbers.dtype == np.uint16 else 255.0
    if floating and high == 255 and np.isin(numbers, (0, 255)).all():
        return numbers.astype(np.uint8)
    if low < 0 or high > limit + (ROUNDING if floating else 0):
        raise UsageError(f"{name} has numbers from {low:g} to {high:g}, {_fix(low, high, floating)}")
    exact = np.clip(numbers.astype(np.float64) * (255 / limit), 0, 255)
    rounded = np.rint(exact)
    if np.abs(exact - rounded).max() > ROUNDING * 255:
        note(f"{name}: its numbers were rounded to 8 bits")
    return rounded.astype(np.uint8)


def _fix(low: float, high: float, floating: bool) -> str:
    if floating and low >= -1 and high <= 1:
        return "but genkit takes [0, 1]; give value / 2 + 0.5"
    if floating:
        return "but floating point is taken in [0, 1]; divide by the maximum, or give uint8"
    return "but whole numbers are taken from 0 to 255, or as uint16; give uint8"


def _channels_last(name: str, numbers: Any) -> Any:
    """Return ``[T, H, W]`` or ``[T, H, W, C]``."""
    given = list(numbers.shape)
    while numbers.ndim > 3 and numbers.shape[0] == 1:
        numbers = numbers[0]
    if numbers.ndim == 3 and numbers.shape[-1] not in CHANNELS and numbers.shape[0] not in CHANNELS:
        return numbers
    if numbers.ndim in (2, 3):
        numbers = numbers[None]
    if numbers.ndim == 4 and numbers.shape[-1] not in CHANNELS:
        numbers = np.moveaxis(numbers, 1 if numbers.shape[1] in CHANNELS else 0, -1)
    if numbers.ndim not in (3, 4) or (numbers.ndim == 4 and numbers.shape[-1] not in CHANNELS) or 0 in numbers.shape:
        raise UsageError(
            f"{name} has shape {given}; an image is [height, width, 3] or [3, height, width], a video has one more "
            "axis in front"
        )
    return numbers[..., 0] if numbers.ndim == 4 and numbers.shape[-1] == 1 else numbers
