"""Named preparations of frames. A name stands for exact numbers: what changes the numbers gets a new name.

Shape letters: T frames, H rows, W columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError
from genkit.frames import to_uint8

RGB = "rgb"
"""The decoded frames as they are."""
GRAY_256 = "gray8-short256-area.1"
"""8-bit grey; a shorter side above 256 pixels is brought to 256 by area averaging."""
GRAY_BLOCKS = "gray-blocks32.1"
"""Grey in [0, 1], averaged over blocks so that a frame has at most 32 x 32 values."""

FLOW_SIDE = 256
BLOCKS = 32
LEAST_FLOW_SIDE = 16
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601 luma, what OpenCV's grey is."""


def gray_256(frames_THWC: NDArray[Any]) -> NDArray[np.uint8]:
    """``[T, H, W]`` for optical flow, see :data:`GRAY_256`.

    Raises:
        GenkitError: a side is shorter than 16 pixels, which flow cannot work on.
    """
    import cv2

    height, width = frames_THWC.shape[1:3]
    if min(height, width) < LEAST_FLOW_SIDE:
        raise GenkitError(f"frames of {height}x{width} are too small for optical flow; it takes {LEAST_FLOW_SIDE} rows")
    scale = min(1.0, FLOW_SIDE / min(height, width))
    size = round(width * scale), round(height * scale)
    gray = (cv2.cvtColor(to_uint8(frame), cv2.COLOR_RGB2GRAY) for frame in frames_THWC)
    return np.stack([frame if scale == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in gray])


def gray_blocks(frames_THWC: NDArray[Any]) -> NDArray[np.float32]:
    """``[T, h, w]`` float32 in [0, 1] with h, w at most 32, see :data:`GRAY_BLOCKS`; needs no OpenCV."""
    return np.stack([_blocks(_unit(frame) @ GRAY_WEIGHTS) for frame in frames_THWC])


def _unit(frame: NDArray[Any]) -> NDArray[np.float32]:
    return frame.astype(np.float32) / 255 if frame.dtype == np.uint8 else frame


def _blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    for axis in (0, 1):
        size = image.shape[axis]
        count = min(BLOCKS, size)
        edges = np.arange(count) * size // count
        lengths = np.diff([*edges, size]).astype(np.float32)
        image = np.add.reduceat(image, edges, axis) / np.expand_dims(lengths, 1 - axis)
    return image
