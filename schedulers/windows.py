"""Windows over the denoiser: which frames each contains, and what share of a frame each decides."""

import torch
from torch import Tensor

from genkit.attention.geometry.windows import Window, window_starts, window_weights


def windows_over(frames: int, window: int, stride: int) -> list[Window]:
    """Return windows of ``window`` latent frames that cover a video of ``frames``, ``stride`` frames apart.

    The last one ends with the video and overlaps its neighbour by more than the others where ``stride`` does not fit. A
    video of ``window`` frames or fewer has one window, of all its frames.

    Raises:
        ValueError: ``stride`` does not lie in ``[1, window]``, so that frames would lie in no window.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride={stride} must lie between 1 and the window of {window} latent frames")
    length = min(window, frames)
    return [Window(begin, begin + length, frames) for begin in window_starts(frames, window, stride)]


def window_shares(windows: list[Window]) -> Tensor:
    """Return what share of each frame each window decides, float64 ``[windows, frames]``.

    The shares of a frame sum to 1. Inside a window they are in proportion to a triangle (1, 2, .., 2, 1), so that a
    window fades in and out.
    """
    weights = torch.zeros(len(windows), windows[0].frames, dtype=torch.float64)
    for row, window in zip(weights, windows, strict=True):
        row[window.begin : window.end] = window_weights(window.end - window.begin)
    return weights / weights.sum(0)
