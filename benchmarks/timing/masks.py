"""Masks of an exact density, to time the kernel without a planner."""

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.shared import always_kept

MASKS = ("band", "scattered")
"""``band``: the nearest blocks, one table for all heads, which caches well; ``scattered``: random blocks for each head,
which cache badly. The masks of planners are between the two."""


def mask_of(kind: str, grid: VideoGrid, heads: int, *, block: int, density: float, seed: int) -> BlockPlan:
    """Return a plan with equally many blocks in every row, including the diagonal, for a density in (0, 1].

    Text is read by all and reads all, in addition to the density.
    """
    blocks = -(-grid.tokens // block)
    count = max(1, round(density * blocks))
    if density == 1:
        keep = torch.ones(1, 1, blocks, blocks, dtype=torch.bool)
    else:
        chosen = _nearest(blocks, count) if kind == "band" else _scattered(blocks, heads, count, seed)
        keep = chosen | always_kept(grid, block, first_frame=False)
    return BlockPlan(keep, block, grid.tokens, grid.tokens)


def _nearest(blocks: int, count: int) -> Tensor:
    """Return a window around the diagonal, shifted inside at the ends; bool ``[1, 1, blocks, blocks]``."""
    index = torch.arange(blocks)
    first = (index - count // 2).clamp(0, blocks - count)[:, None]
    return ((index >= first) & (index < first + count))[None, None]


def _scattered(blocks: int, heads: int, count: int, seed: int) -> Tensor:
    """Draw blocks for each row of each head, bool ``[1, heads, blocks, blocks]``."""
    score = torch.rand(1, heads, blocks, blocks, generator=torch.Generator().manual_seed(seed))
    score.diagonal(dim1=-2, dim2=-1).fill_(2)
    chosen = score.topk(count, dim=-1).indices
    return torch.zeros(score.shape, dtype=torch.bool).scatter_(-1, chosen, True)
