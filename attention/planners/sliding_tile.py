"""Sliding tiles: tokens are ordered in cubes of space and time, and a tile of queries reads the window around it.

Source: "Fast Video Generation with Sliding Tile Attention", arXiv 2502.04507, section 3: the centre of a window is
moved inside the video where it would reach out, so that every tile reads the same number of tiles. Published kernels
take three fixed sizes; here the tiles at the end of an axis may be smaller, and a block of the kernel is kept when any
pair of tiles in it is. One window serves all heads; the search over prompts for a window per head is not done.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genkit.attention.grid import VideoGrid
from genkit.attention.layout import Sides, Tiles
from genkit.attention.plan import BlockPlan
from genkit.attention.planners.here import Attended, Here
from genkit.attention.planners.ordered import InOrder

EVERY_TILE = 1 << 20
"""A window wider than any video."""


@dataclass(frozen=True, kw_only=True)
class SlidingTilePlanner(InOrder):
    """A window of whole tiles around each tile."""

    tile: Sides = (6, 8, 8)
    """Latent frames, rows and columns of a tile, in tokens."""
    window: Sides = (3, 3, 3)
    """Tiles along each axis that a tile reads; odd numbers centre it."""
    block: int | None = None
    """Tokens of a block of the kernel; None is 64, or less for small frames."""
    name: str = "sliding-tile"

    @property
    def layout(self) -> Tiles:
        """Tokens come tile by tile."""
        return Tiles(self.tile)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"window": (side, side, side)} for side in (1, 3, 5, 7, 9, 13, 19, 27, EVERY_TILE))

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> Attended:
        """Attend by the windows of the tiles."""
        plan, density = here.shared(lambda: self._planned(here), "plan")
        return here.attend(q, k, v, plan), density

    def _planned(self, here: Here) -> tuple[BlockPlan, Tensor]:
        block, tokens = here.block(self.block), here.grid.tokens
        if math.prod(self.tile) % block:
            here.call.run.note(self._straddling(block))
        keep = self._blocks(here.grid, block).to(here.device) | here.kept_always(block, first_frame=False)
        plan = BlockPlan(keep[None, None], block, tokens, tokens)
        return plan, here.density(plan)

    def _straddling(self, block: int) -> str:
        """What blocks do that do not divide the tiles, and how to avoid it."""
        tokens = math.prod(self.tile)
        whole = [size for size in range(16, 129, 8) if tokens % size == 0]
        fix = f"block={max(whole)} would not" if whole else f"tiles of a multiple of {block} tokens would not"
        return (
            f"sliding-tile: blocks of {block} tokens do not divide tiles of {tokens}, so blocks that lie in several "
            f"tiles read the windows of all of them; {fix}"
        )

    def _blocks(self, grid: VideoGrid, block: int) -> Tensor:
        """Blocks of the ordered tokens that hold a pair of tiles in one another's window."""
        read = torch.ones(1, 1, dtype=torch.bool)
        for count, width in zip(self.layout.count(grid), self.window, strict=True):
            index = torch.arange(count)
            first = (index - width // 2).clamp(0, max(0, count - width))
            near = (index >= first[:, None]) & (index < first[:, None] + width)
            read = (read[:, None, :, None] & near[None, :, None]).flatten(2).flatten(0, 1)
        holds = torch.zeros(-(-grid.tokens // block), len(read))
        holds[torch.arange(grid.video.start, grid.video.stop) // block, self.layout.rank(grid).sort().values] = 1
        return holds @ read.float() @ holds.T > 0
