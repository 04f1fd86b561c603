"""Accepted forms of a video's frames, and their conversion to 8 bits.

Shape letters: T frames, H rows, W columns, C the three channels red, green, blue.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import UsageError

OVERSHOOT = 1e-3
"""Distance from [0, 1] that is still accepted as the decoder's rounding."""


def as_frames(frames: Any) -> NDArray[Any]:
    """Convert the frames of one video to the form that the rest of the package uses.

    Args:
        frames: a NumPy array or torch tensor, ``[T, H, W, 3]`` or ``[T, 3, H, W]``, or a list of PIL images or of
            single frames. Either uint8, or floating point in [0, 1]. If both layouts fit, the last axis is colour.

    Returns:
        ``[T, H, W, 3]``; uint8 stays uint8, floating point of any width becomes float32, clamped to [0, 1].

    Raises:
        UsageError: it is not one video, not RGB, not finite, or floats exceed [0, 1] by more than 0.001.
    """
    array = _channels_last(_as_array(frames))
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"frames have dtype {array.dtype}; give uint8 in 0..255 or floating point in [0, 1]")
    return _in_unit_range(array.astype(np.float32, copy=False))


def to_uint8(frames_THWC: NDArray[Any]) -> NDArray[np.uint8]:
    """Round frames in the form of :func:`as_frames` to 8 bits; uint8 passes unchanged."""
    if frames_THWC.dtype == np.uint8:
        return frames_THWC
    return np.rint(frames_THWC * 255).astype(np.uint8)


def _as_array(frames: Any) -> NDArray[Any]:
    if isinstance(frames, (list, tuple)):
        return _stack([_one_image(frame) for frame in frames])
    return _one_image(frames)


def _one_image(image: Any) -> NDArray[Any]:
    """One array of any rank; torch and PIL are recognised by their methods, so that neither is imported here."""
    if hasattr(image, "detach"):
        tensor = image.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if hasattr(image, "getbands") and image.mode != "RGB":
        raise UsageError(f"a frame is a PIL image of mode {image.mode!r}; convert it: image.convert('RGB')")
    return np.asarray(image)


def _stack(images: list[NDArray[Any]]) -> NDArray[Any]:
    if not images:
        raise UsageError("the video has no frames; give at least one")
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise UsageError(f"all frames must have one size, but the list contains {shapes[0]} and {shapes[-1]}")
    return np.stack(images)


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 4:
        raise UsageError(
            f"frames have shape {array.shape}; one video has four axes, [T, H, W, 3]"
            + (": of a batch take one, output.frames[0]" if array.ndim == 5 else "")
        )
    if 3 not in (array.shape[3], array.shape[1]):
        raise UsageError(f"frames have shape {array.shape}; expected RGB as [T, H, W, 3] or [T, 3, H, W]")
    if 0 in array.shape:
        raise UsageError(f"the video has no frames or no pixels: its shape is {array.shape}")
    return array if array.shape[3] == 3 else np.moveaxis(array, 1, 3)


def _in_unit_range(array: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())  # NaN if any number is
    if not np.isfinite([low, high]).all():
        broken = [index for index, frame in enumerate(array) if not np.isfinite(frame).all()]
        raise UsageError(f"{len(broken)} of {len(array)} frames contain NaN or infinity, first frame {broken[0]}")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise UsageError(f"float frames must be in [0, 1], but these span [{low:.4g}, {high:.4g}]; rescale them first")
    return np.clip(array, 0, 1)
