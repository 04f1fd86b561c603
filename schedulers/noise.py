"""Initial noise for videos longer than the model was trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor


def shuffled_order(frames: int, window: int, stride: int, generator: torch.Generator | None) -> Tensor:
    """Which base frame's noise each latent frame gets, int64 ``[frames]``; the first ``window`` frames keep theirs.

    Each later group of ``stride`` frames is a random permutation of the group one window earlier, so that every window
    whose start is a multiple of ``stride`` holds each base noise exactly once (when ``stride`` divides ``window``).
    ``generator`` is the caller's; None draws from the global one. A generator of another device is only forked.

    Source: FreeNoise, arXiv 2310.15169, eq. 7; as the released code, each group shuffles the previous copy of itself,
    which has the same distribution.
    """
    order = torch.arange(frames)
    host = _host(generator)
    for begin in range(window, frames, stride):
        group = order[begin - window : begin - window + stride]
        shuffled = group[torch.randperm(len(group), generator=host)]
        order[begin : begin + stride] = shuffled[: len(order[begin : begin + stride])]
    return order


def _host(generator: torch.Generator | None) -> torch.Generator | None:
    if generator is None or generator.device.type == "cpu":
        return generator
    return torch.Generator().manual_seed(generator.initial_seed())


@dataclass(frozen=True, kw_only=True)
class ShuffledNoise:
    """Repeat the noise of the first window, shuffled in groups, over the whole video."""

    window: int
    """Latent frames of a window."""
    stride: int
    """Latent frames of a group."""
    name: str = "freenoise"

    def plan(self, latents: Tensor, frame_axis: int, generator: torch.Generator | None) -> Tensor:
        """Reorder ``latents`` along ``frame_axis``; a video within one window comes back as it is."""
        frames = latents.shape[frame_axis]
        if frames <= self.window:
            return latents
        order = shuffled_order(frames, self.window, self.stride, generator)
        return latents.index_select(frame_axis, order.to(latents.device))


def largest_stride(window: int) -> int:
    """The largest divisor of ``window`` that is at most a third of it (16 gives 4, as in the paper; 9 gives 3)."""
    return max(divisor for divisor in range(1, max(2, window // 3 + 1)) if window % divisor == 0)
