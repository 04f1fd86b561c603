"""Random tensors with the structure of a video, so that planners that look at their data have something to choose.

Pure noise attends everywhere alike, and every choice of blocks is as good as another. Here the product of a query and a
key falls with their distance in time and space, as in trained video models, with noise on top: even heads attend along
space (few frames, wide areas), odd ones along time (all frames, small areas). Nothing here is learned: the tensors
serve to compare speeds, not quality.
"""

import math

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid

ALONG_SPACE, ALONG_TIME = (0.08, 0.4, 0.4), (0.5, 0.12, 0.12)
"""Correlation length of a head in time, rows and columns, as shares of the video."""
PEAK = 8.0
"""Logit of a query with the key of the same token, without noise."""
NOISE = 0.7
"""Standard deviation of the noise on queries and keys; it gives logits one of about 1."""


def query_key_value(
    grid: VideoGrid, heads: int, width: int, dtype: torch.dtype, device: torch.device, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw queries, keys and values ``[1, heads, tokens, width]``, in memory token by token as in models.

    The same seed gives different numbers on different kinds of devices.
    """
    make = torch.Generator(device).manual_seed(seed)
    q, k, v = (torch.empty(1, grid.tokens, heads, width, dtype=dtype, device=device).transpose(1, 2) for _ in range(3))
    place, size = places(grid, device), math.sqrt(PEAK / math.sqrt(width))
    for head in range(heads):
        where = smooth(place, ALONG_TIME if head % 2 else ALONG_SPACE, width, make)
        for x in (q, k):
            noise = NOISE * torch.randn(grid.tokens, width, generator=make, device=device)
            noise[grid.video] += size * where
            x[0, head] = noise.to(dtype)
        value = torch.randn(grid.tokens, width, generator=make, device=device)
        value[grid.video] += where
        v[0, head] = value.to(dtype)
    return q, k, v


def smooth(place: Tensor, reach: tuple[float, float, float], channels: int, make: torch.Generator) -> Tensor:
    """Draw fields ``[places, channels]`` of variance 1 whose products fall as ``exp(-|distance / reach|^2 / 2)``.

    Source: Rahimi and Recht, "Random features for large-scale kernel machines", 2007.
    """
    device = place.device
    waves = torch.randn(3, channels, generator=make, device=device) / torch.tensor(reach, device=device)[:, None]
    phase = 2 * math.pi * torch.rand(channels, generator=make, device=device)
    return math.sqrt(2) * (place @ waves + phase).cos()


def places(grid: VideoGrid, device: torch.device) -> Tensor:
    """Return time, row and column of every video token as shares of the video, float32 ``[tokens, 3]``."""
    axes = (torch.arange(n, device=device) / n for n in (grid.frames, grid.rows, grid.cols))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
