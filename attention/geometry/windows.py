"""Overlapping windows of frames: where each begins, and how much each of its frames counts."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Neighbouring latent frames of a video, counted as attention counts them (after temporal patching)."""

    begin: int
    """First frame."""
    end: int
    """Frame after the last."""
    frames: int
    """Frames of the whole video."""

    @property
    def is_whole(self) -> bool:
        """Whether the window contains every frame."""
        return self.begin == 0 and self.end == self.frames


def window_starts(frames: int, window: int, stride: int) -> list[int]:
    """First frames of windows that cover ``frames`` completely; ``[0]`` where one window is enough."""
    if frames <= window:
        return [0]
    starts = list(range(0, frames - window + 1, stride))
    return starts if starts[-1] == frames - window else [*starts, frames - window]


def window_weights(window: int) -> Tensor:
    """Triangle ``1, 2, ..., 2, 1`` of ``window`` float32 weights (FreeNoise, arXiv 2310.15169, eq. 9)."""
    ramp = torch.arange(window)
    return (torch.minimum(ramp, window - 1 - ramp) + 1).float()
