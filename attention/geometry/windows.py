"""Overlapping windows of frames: their first frames and the weights of their frames."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Consecutive latent frames of a video, after temporal patching."""

    begin: int
    """First frame."""
    end: int
    """Frame after the last."""
    frames: int
    """Frames of the whole video."""

    @property
    def is_whole(self) -> bool:
        """True if the window contains every frame."""
        return self.begin == 0 and self.end == self.frames


def window_starts(frames: int, window: int, stride: int) -> list[int]:
    """Return the first frames of windows that cover ``frames`` completely; ``[0]`` if one window is enough."""
    if frames <= window:
        return [0]
    starts = list(range(0, frames - window + 1, stride))
    return starts if starts[-1] == frames - window else [*starts, frames - window]


def window_weights(window: int) -> Tensor:
    """Return triangular weights ``1, 2, ..., 2, 1``, float32 ``[window]`` (FreeNoise, arXiv 2310.15169, eq. 9)."""
    ramp = torch.arange(window)
    return (torch.minimum(ramp, window - 1 - ramp) + 1).float()
