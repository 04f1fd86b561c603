"""Launch numbers of the block-sparse kernel, by chip, head width and dtype."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Launch:
    """Tile and launch numbers of one program of the kernel."""

    queries: int
    """Rows of a tile; a power of two, at least 16."""
    keys: int
    """Keys read at once; a power of two, at least 16."""
    warps: int
    """Warps of a program."""
    stages: int
    """Loads in flight at once."""


def launch_for(q: Tensor, block: int) -> Launch:
    """Return the numbers for queries ``[B, H, N, D]`` in blocks of ``block`` tokens, never wider than a block needs."""
    chip = torch.cuda.get_device_capability(q.device)[0] if q.device.type == "cuda" else 0
    best = choose(chip, q.shape[3], q.dtype)
    room = max(16, 1 << (block - 1).bit_length())
    return Launch(min(best.queries, room), min(best.keys, room), best.warps, best.stages)


def choose(chip: int, width: int, dtype: torch.dtype) -> Launch:
    """Return the numbers for a chip's major compute capability (0 is the interpreter)."""
    if dtype == torch.float32:
        return Launch(64, 32, 4, 2) if width <= 64 else Launch(32, 32, 4, 2)
    if width > 128:
        return Launch(64, 32, 4, 2)
    if chip >= 9:
        return Launch(128, 64, 8, 3)
    return Launch(128, 64, 8, 3 if width <= 64 else 2)
