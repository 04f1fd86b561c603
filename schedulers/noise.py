"""Initial noise for videos beyond the training length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.schedulers.seeds import generator_of


def shuffled_order(frames: int, window: int, stride: int, generator: torch.Generator | None) -> Tensor:
    """Return which base frame's noise each latent frame gets, int64 ``[frames]``; the first ``window`` keep theirs.

    Each later group of ``stride`` frames is a random permutation of the frames one window earlier, so that every window
    whose start is a multiple of ``stride`` contains each base noise exactly once: from one such window to the next, a
    group leaves and its permutation enters. A last group of fewer frames permutes only as many, so that the window at
    the end of the video contains each noise once as well. ``generator`` is the caller's; None uses the global one. One
    on another device is not advanced: the order is drawn from a new one on the CPU with its seed.

    Source: FreeNoise, arXiv 2310.15169, eq. 7; as in the released code, each group shuffles the previous copy of
    itself, which has the same distribution. Different from the source: its incomplete last group is any part of the
    permutation (and belongs to no window), which repeats a noise inside the last window for 2 of 3 seeds at 17 frames,
    windows of 9 and a stride of 3.

    Raises:
        ValueError: ``stride`` is not in ``[1, window]``.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"stride={stride} must be between 1 and the window of {window} latent frames")
    order = torch.arange(frames)
    host = _host(generator)
    for begin in range(window, frames, stride):
        end = min(begin + stride, frames)
        group = order[begin - window : end - window]
        order[begin:end] = group[torch.randperm(len(group), generator=host)]
    return order


def _host(generator: torch.Generator | None) -> torch.Generator | None:
    if generator is None or generator.device.type == "cpu":
        return generator
    return generator_of(generator.initial_seed())


@dataclass(frozen=True, kw_only=True)
class ShuffledNoise:
    """Repeat the noise of the first window, shuffled in groups, over the whole video."""

    window: int
    """Latent frames of a window."""
    stride: int
    """Latent frames of a group."""
    name: str = "freenoise"

    def plan(self, latents: Tensor, frame_axis: int, generator: torch.Generator | None) -> Tensor:
        """Reorder ``latents`` along ``frame_axis``; a video within one window is returned unchanged."""
        frames = latents.shape[frame_axis]
        if frames <= self.window:
            return latents
        order = shuffled_order(frames, self.window, self.stride, generator)
        return latents.index_select(frame_axis, order.to(latents.device))


def largest_stride(window: int) -> int:
    """Return the largest divisor of ``window`` up to a third of it (16 gives 4, as in the paper; 9 gives 3).

    If that is 1, as for primes, return about a third (5 gives 2, 13 gives 4): groups of one frame would not be
    shuffled at all, and windows one frame apart cost more than dense attention.
    """
    divisors = [divisor for divisor in range(2, window // 3 + 1) if window % divisor == 0]
    return max(divisors, default=max(1, round(window / 3)))
