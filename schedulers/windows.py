"""Windows over the denoiser: the frames of each, and its share of each frame."""

import torch
from torch import Tensor

from genkit.attention.geometry.windows import Window, window_starts, window_weights


def windows_over(frames: int, window: int, stride: int) -> list[Window]:
    """Return windows of ``window`` latent frames that cover a video of ``frames``, ``stride`` frames apart.

    The last window ends with the video; if ``stride`` does not fit, it overlaps its neighbour more than the others. A
    video of ``window`` frames or fewer is one window.

    Raises:
        ValueError: ``stride`` is not in ``[1, window]``, so some frames would be in no window.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride={stride} must be between 1 and the window of {window} latent frames")
    length = min(window, frames)
    return [Window(begin, begin + length, frames) for begin in window_starts(frames, window, stride)]


def window_shares(windows: list[Window]) -> Tensor:
    """Return the share of each window in each frame, float64 ``[windows, frames]``.

    The shares of a frame sum to 1. Within a window they are proportional to a triangle (1, 2, .., 2, 1), so windows
    fade into each other.
    """
    weights = torch.zeros(len(windows), windows[0].frames, dtype=torch.float64)
    for row, window in zip(weights, windows, strict=True):
        row[window.begin : window.end] = window_weights(window.end - window.begin)
    return weights / weights.sum(0)
