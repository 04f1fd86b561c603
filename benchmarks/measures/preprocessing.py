"""Named preprocessing of frames. A name stands for exact numbers: what changes the numbers gets a new name.

VBench's resize float values of 0 to 255 without antialiasing and keep the overshoot of bicubic interpolation;
antialiasing, 8-bit values or PIL would all give different scores. Source: ``utils.py`` of vbench 0.1.5.
Shape letters: T frames, H rows, W columns, C colours.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from genkit.errors import GenkitError
from genkit.files.frames import to_uint8

RGB = "rgb"
"""The decoded frames, unchanged."""
GRAY_256 = "gray8-short256-area.1"
"""8-bit grey; a shorter side above 256 pixels is reduced to 256 by area averaging."""
GRAY_BLOCKS = "gray-blocks32.1"
"""Grey in [0, 1], averaged over blocks so that a frame has at most 32 x 32 values."""
RGB8 = "rgb8"
"""The decoded frames rounded to 8 bits."""
DINO_224 = "vbench-dino224-float-bilinear.1"
"""Shorter side 224 by bilinear interpolation, without cropping, ImageNet's mean and standard deviation."""
CLIP_224 = "vbench-clip224-float-bicubic.1"
"""Shorter side 224 by bicubic interpolation, the central 224 x 224, CLIP's mean and standard deviation."""
LONGER_512 = "vbench-longer512-float-bilinear.1"
"""A longer side above 512 is reduced to 512 by bilinear interpolation, in [0, 1]."""

FLOW_SIDE = 256
BLOCKS = 32
MIN_FLOW_SIDE = 16
GRAY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""BT.601 luma, as OpenCV's grey."""

VBENCH_SIDE = 224
MUSIQ_SIDE = 512
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of the colours, for values in [0, 1]."""


def gray_256(frames_THWC: NDArray[Any]) -> NDArray[np.uint8]:
    """Return ``[T, H, W]`` for optical flow, see :data:`GRAY_256`.

    Raises:
        GenkitError: a side is shorter than 16 pixels, too small for flow.
    """
    import cv2

    height, width = frames_THWC.shape[1:3]
    if min(height, width) < MIN_FLOW_SIDE:
        raise GenkitError(f"frames of {height}x{width} are too small for optical flow; it needs {MIN_FLOW_SIDE} rows")
    scale = min(1.0, FLOW_SIDE / min(height, width))
    size = round(width * scale), round(height * scale)
    gray = (cv2.cvtColor(to_uint8(frame), cv2.COLOR_RGB2GRAY) for frame in frames_THWC)
    return np.stack([frame if scale == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in gray])


def gray_blocks(frames_THWC: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``[T, h, w]`` float32 in [0, 1] with h, w at most 32, see :data:`GRAY_BLOCKS`; OpenCV is not needed."""
    return np.stack([_blocks(_unit(frame) @ GRAY_WEIGHTS) for frame in frames_THWC])


def dino_224(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """Return ``[T, 3, h, w]`` float32, see :data:`DINO_224`."""
    return _normalise(_resize(_float(frames_THWC), _shorter_side(frames_THWC), "bilinear"), *IMAGENET)


def clip_224(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """Return ``[T, 3, 224, 224]`` float32, see :data:`CLIP_224`."""
    image = _resize(_float(frames_THWC), _shorter_side(frames_THWC), "bicubic")
    # Python rounds halves to even, and that is where the official crop begins.
    top, left = (round((side - VBENCH_SIDE) / 2) for side in image.shape[-2:])
    return _normalise(image[..., top : top + VBENCH_SIDE, left : left + VBENCH_SIDE], *CLIP)


def longer_512(frames_THWC: NDArray[np.uint8]) -> Tensor:
    """Return ``[T, 3, h, w]`` float32 in [0, 1], see :data:`LONGER_512`."""
    height, width = frames_THWC.shape[1:3]
    image = _float(frames_THWC)
    if max(height, width) > MUSIQ_SIDE:
        scale = MUSIQ_SIDE / max(height, width)
        image = _resize(image, (int(scale * height), int(scale * width)), "bilinear")
    return image / 255


def _float(frames_THWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2).float()


def _shorter_side(frames_THWC: NDArray[Any]) -> tuple[int, int]:
    """Return rows and columns with the shorter side at 224; the longer one is rounded down."""
    height, width = frames_THWC.shape[1:3]
    if height <= width:
        return VBENCH_SIDE, int(VBENCH_SIDE * width / height)
    return int(VBENCH_SIDE * height / width), VBENCH_SIDE


def _resize(image_TCHW: Tensor, size: tuple[int, int], how: str) -> Tensor:
    return interpolate(image_TCHW, size=size, mode=how, align_corners=False, antialias=False)


def _normalise(image_TCHW: Tensor, mean: tuple[float, ...], spread: tuple[float, ...]) -> Tensor:
    center, scale = (torch.tensor(values)[:, None, None] for values in (mean, spread))
    return (image_TCHW / 255 - center) / scale


def _unit(frame: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(frame.astype(np.float32) / 255 if frame.dtype == np.uint8 else frame, np.float32)


def _blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    for axis in (0, 1):
        size = image.shape[axis]
        count = min(BLOCKS, size)
        edges = np.arange(count) * size // count
        lengths = np.diff([*edges, size]).astype(np.float32)
        image = np.asarray(np.add.reduceat(image, edges, axis) / np.expand_dims(lengths, 1 - axis), np.float32)
    return image
