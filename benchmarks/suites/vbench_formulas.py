"""The formulas of VBench's seven dimensions that work on any video, on frames, features and flow, without networks.

Source: Z. Huang et al., arXiv 2311.17982, and the code of vbench 0.1.5, which decides where they differ. A measurement
contains enough for both modes: ``vbench-0.1.5`` reads it as the official code does, quirks included, and ``fixed`` as
it was intended.
Shape letters: T frames, H rows, W columns, C channels.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.measures.change import changes, steadiness
from genkit.errors import GenkitError

Mode = Literal["vbench-0.1.5", "fixed"]
FASTEST = 0.05
"""Share of the fastest pixels whose mean speed represents a pair of frames."""
MOVING = 6.0
"""Speed above which a pair counts as moving, in pixels at a shorter side of 256."""
MIN_FRAMES = 3
"""With fewer frames there is none between two others."""


def consistency_from_features(features_TC: Tensor) -> Stat:
    """Return each frame's similarity to the previous and the first: the mean of both cosines, negative ones as 0.

    Weight and curve count pairs, one fewer than frames.
    """
    features = features_TC.double()
    unit = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    before = (unit[1:] * unit[:-1]).sum(-1).clamp_min(0)
    first = (unit[1:] * unit[0]).sum(-1).clamp_min(0)
    return Stat.of_curve(((before + first) / 2).tolist())


def flicker(frames_THWC: NDArray[np.uint8]) -> Stat:
    """Return one minus the mean change of a pixel, over pairs; 1 is still, 0 a strobe between black and white.

    No static filter is applied: the official score is meant for still videos, but is computed for any.
    """
    return Stat.of_curve(steadiness(changes(frames_THWC)))


def smoothness(frames_THWC: NDArray[np.uint8], middle: Callable[[Tensor, Tensor], Tensor]) -> Stat:
    """Return how close odd frames are to what ``middle`` makes of their even neighbours; 1 is equal.

    ``middle`` takes and returns ``[1, 3, H, W]`` in [0, 1]. Sum and weight are those of the frames with two even
    neighbours, as in the official code, which ignores the last frame of an even number; the curve then has one more
    value, for the frame before the last.

    Raises:
        GenkitError: there are fewer than 3 frames.
    """
    count = len(frames_THWC)
    if count < MIN_FRAMES:
        raise GenkitError(f"motion smoothness needs at least {MIN_FRAMES} frames; the video has {count}")
    places = [*range(1, count - 1, 2)]
    extra = [count - 2] if count % 2 == 0 else []
    curve = [_nearness(frames_THWC[t - 1 : t + 2], middle) for t in places + extra]
    official = Stat.of_curve(curve[: len(places)])
    return Stat(official.sum, official.weight, tuple(curve))


def smoothness_in(mode: Mode, stat: Stat) -> Stat:
    """Return the result of :func:`smoothness` in a mode: ``fixed`` counts the whole curve."""
    return stat if mode == "vbench-0.1.5" else Stat.of_curve(stat.curve)


def to_uint8_cut(image_13HW: Tensor) -> NDArray[np.uint8]:
    """Return ``[H, W, 3]`` from [0, 1], truncated and not rounded, as for the published scores."""
    scaled = (image_13HW * 255.0)[0].permute(1, 2, 0).cpu().numpy()
    return scaled.clip(0, 255).astype(np.uint8)


def speed(flow_2HW: NDArray[Any], shorter_side: int) -> float:
    """Return the mean length of the longest 5 % of a flow, in pixels at a shorter side of 256.

    ``shorter_side`` is that of the video, which may be less than that of a padded flow.
    """
    lengths = np.sort(np.sqrt(np.square(flow_2HW).sum(0)), axis=None)
    fastest = lengths[-max(1, int(lengths.size * FASTEST)) :]
    return float(fastest.mean(dtype=np.float64)) * 256 / shorter_side


def dynamic_in(mode: Mode, speeds: Sequence[float]) -> Stat:
    """Return 1 if a quarter of the frames moves, else 0, with weight 1; the curve is the speed of each pair.

    ``vbench-0.1.5`` rounds the quarter half to even, so that of 10 frames 2 have to move and of 2 frames none; a single
    frame is still. ``fixed`` rounds halves up, requires at least one moving pair, and has no value (weight 0) for a
    single frame.
    """
    moving, frames = sum(value > MOVING for value in speeds), len(speeds) + 1
    if mode == "fixed":
        needed = max(1, math.floor(frames / 4 + 0.5))
        return Stat(float(moving >= needed), float(bool(speeds)), tuple(speeds)) if speeds else Stat(0.0, 0.0)
    needed = round(4 * (frames / 16))
    return Stat(float(bool(speeds) and moving >= needed), 1.0, tuple(speeds))


def frames_at_8_fps(frames_THWC: NDArray[Any], fps: float) -> NDArray[Any]:
    """Return the frames that the dynamic degree samples; the rate is taken from the file, right or wrong."""
    return frames_THWC[:: max(1, round(fps / 8))]


def pad_to(image_BCHW: Tensor, divisor: int) -> tuple[Tensor, tuple[slice, slice]]:
    """Return the picture, its borders repeated until ``divisor`` divides its sides, and its place in the result."""
    height, width = image_BCHW.shape[-2:]
    rows, columns = -height % divisor, -width % divisor
    top, left = rows // 2, columns // 2
    inside = slice(top, top + height), slice(left, left + width)
    return pad(image_BCHW, (left, columns - left, top, rows - top), mode="replicate"), inside


def _nearness(three_THWC: NDArray[np.uint8], middle: Callable[[Tensor, Tensor], Tensor]) -> float:
    before, after = (_unit(three_THWC[t]) for t in (0, 2))
    made = to_uint8_cut(middle(before, after)).astype(np.int16)
    return 1 - float(np.abs(made - three_THWC[1]).mean()) / 255


def _unit(frame_HWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame_HWC)).permute(2, 0, 1)[None] / 255.0
