"""Optical flow by OpenCV's DIS: the speed of motion, and how well motion explains the next frame.

DIS needs no weights. Source: T. Kroeger et al., arXiv 1603.03590. Its values are in pixels of the preprocessed frames.
Shape letters: T frames, H rows, W columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOW = "dis-medium"
"""Preset of DIS, part of every row's key."""
FASTEST = 0.05
"""Share of the fastest pixels whose mean speed represents a pair of frames."""
ONE_DYNAMIC = 6.0
"""Speed above which a pair counts as moving, in pixels at a shorter side of 256."""


def flows(gray_THW: NDArray[np.uint8], *, backward: bool = False) -> "list[NDArray[np.float32]]":
    """Return the flow between neighbours, ``[H, W, 2]`` each, x first; ``backward`` from each frame to the previous."""
    pairs = zip(gray_THW, gray_THW[1:], strict=False)
    return [_dis(b, a) if backward else _dis(a, b) for a, b in pairs]


def speeds(gray_THW: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean of the longest 5 % of each pair's flow, ``[T - 1]``, in pixels at a shorter side of 256."""
    scale = 256 / min(gray_THW.shape[1:])
    return np.array([scale * _fastest(flow) for flow in flows(gray_THW)])


def step_at_8_fps(fps: float) -> int:
    """Return the stride in frames that samples about 8 frames per second; at least 1."""
    return max(1, round(fps / 8))


def is_dynamic(speeds_T: NDArray[np.float64]) -> bool:
    """Return True if a quarter of the frames, and at least one pair, moves faster than 6 pixels.

    The rule of VBench's dynamic degree, with another flow. Source: arXiv 2311.17982; there two frames always count as
    dynamic, because a quarter of 2 rounds to 0; here one pair has to move.
    """
    frames = len(speeds_T) + 1
    return int((speeds_T > ONE_DYNAMIC).sum()) >= max(1, round(4 * frames / 16))


def warping_errors(gray_THW: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the squared error of each frame against the next moved back along the flow; NaN where none is comparable.

    Grey in [0, 1]. Only pixels count that stay inside the frame and whose flow forward and back returns to its start.
    Source: W.-S. Lai et al., arXiv 1808.00449, with the occlusion test of N. Sundaram et al., ECCV 2010.
    """
    both = zip(gray_THW, gray_THW[1:], flows(gray_THW), flows(gray_THW, backward=True), strict=False)
    return np.array([warping_error(*pair) for pair in both])


def warping_error(a: NDArray[Any], b: NDArray[Any], there: NDArray[Any], back: NDArray[Any]) -> float:
    """Return the error of a pair of 8-bit frames ``[H, W]``, given the flow ``[H, W, 2]`` from a to b and back."""
    moved, inside = _move(b, there)
    returned, _ = _move(back, there)
    stray = np.square(there + returned).sum(-1)
    lengths = np.square(there).sum(-1) + np.square(returned).sum(-1)
    visible = inside & (stray < 0.01 * lengths + 0.5)
    if not visible.any():
        return float("nan")
    return float(np.square((moved[visible] - a[visible]) / 255, dtype=np.float64).mean())


def _move(image: NDArray[Any], flow: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return ``image`` sampled where ``flow`` points, and which pixels point inside it."""
    import cv2

    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    moved = cv2.remap(image.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32), inside


def _dis(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    # A new object for each pair: DIS otherwise starts from its last result, and the order of calls would matter.
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(flow.calc(a, b, None), np.float32)


def _fastest(flow: NDArray[np.float32]) -> float:
    lengths = np.sort(np.linalg.norm(flow, axis=-1), axis=None)
    return float(lengths[-max(1, int(lengths.size * FASTEST)) :].mean(dtype=np.float64))
