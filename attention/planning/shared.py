"""Shared parts of planners: the size of blocks, the blocks that all of them keep, and the top entries of a row."""

from collections.abc import Iterable

import torch
from torch import Tensor

from genkit.attention.geometry.blocks import count_in_blocks
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout, ordered

DENSITIES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
"""Densities to try under a requested recall, from sparse to dense."""


def default_block(grid: VideoGrid, max_block: int = 128) -> int:
    """Return the default tokens per block: a power of two from 16 to ``max_block``, at most a quarter of a frame."""
    quarter = max(16, grid.tokens_per_frame // 4)
    return min(max_block, 1 << (quarter.bit_length() - 1))


def always_kept(grid: VideoGrid, block: int, layout: Layout | None = None, *, first_frame: bool) -> Tensor:
    """Return the block pairs that every planner keeps, bool ``[blocks, blocks]`` on the CPU.

    A query block reads its own keys, so that a row is never empty. Blocks with other tokens than video, such as text,
    are read by all and read all. With ``first_frame`` all read the first latent frame, which causal video autoencoders
    encode separately.
    """
    blocks = -(-grid.tokens // block)
    keep = torch.eye(blocks, dtype=torch.bool)
    others = spanned(grid.others, block, blocks)
    keep |= others[:, None] | others
    return keep | in_first_frame(grid, block, layout) if first_frame else keep


def in_first_frame(grid: VideoGrid, block: int, layout: Layout | None) -> Tensor:
    """Return the blocks with tokens of the first latent frame, bool ``[blocks]``; tokens in the order of ``layout``."""
    token = torch.arange(grid.tokens) if layout is None else ordered(grid, layout)
    first = (token >= grid.video.start) & (token < grid.video.start + grid.tokens_per_frame)
    return count_in_blocks(first, block) > 0


def spanned(sides: Iterable[slice], block: int, blocks: int) -> Tensor:
    """Return the blocks with tokens of ``sides``, slices that are not empty, bool ``[blocks]``."""
    found = torch.zeros(blocks, dtype=torch.bool)
    for side in sides:
        found[side.start // block : -(-side.stop // block)] = True
    return found


def top_share(score: Tensor, share: float | Tensor) -> Tensor:
    """Return a mask of the top ``share`` of each row of ``score`` [.., rows, columns], at least one entry.

    ``share`` in (0, 1] may differ by head, ``[B or 1, H]``.
    """
    columns = score.shape[-1]
    count = torch.as_tensor(share, device=score.device, dtype=torch.float64).mul(columns).round().clamp(1, columns)
    place = score.argsort(-1, descending=True).argsort(-1)
    return place < (count[..., None, None] if count.ndim else count)
