"""Sliding tiles: tokens are ordered in cubes of space and time, and a tile of queries reads the window around it.

Source: "Fast Video Generation with Sliding Tile Attention", arXiv 2502.04507, section 3: the centre of a window is
moved inside the video where it would reach out, so that every tile reads the same number of tiles. On videos that
whole tiles fill, with windows of odd sides, the mask is that of the published code block for block. Different from the
source:

- published kernels take three fixed sizes; here the tiles at the end of an axis may be smaller. A block of the kernel
  that lies in several tiles reads the windows of all of them: the density is 1.06 to 1.16 times that of whole tiles on
  Wan at 480p and 720p, HunyuanVideo at 720p and CogVideoX, which the record says with both numbers;
- a window of an even side reads as many tiles as it says (published, one more);
- one window serves all heads; the search over prompts for a window per head is not done.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Sides, Tiles
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.ordered import InOrder
from genkit.attention.planning.planner import Settings
from genkit.attention.planning.planner_call import Attended, PlannerCall

EVERY_TILE = 1 << 20
"""A window wider than any video."""
NOTED = 1.01
"""How much more than whole tiles blocks may read without a note."""


class SlidingTileSettings(Settings, Protocol):
    """Fields of ``genkit.SlidingTile`` that decide what is read."""

    @property
    def tile(self) -> Sides: ...
    @property
    def window(self) -> Sides: ...


class SlidingTilePlanner(InOrder[SlidingTileSettings]):
    """A window of whole tiles around each tile."""

    across_heads = False

    @property
    def layout(self) -> Tiles:
        """Tokens come tile by tile."""
        return Tiles(self.settings.tile)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"window": (side, side, side)} for side in (1, 3, 5, 7, 9, 13, 19, 27, EVERY_TILE))

    def attend_ordered(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Attend by the windows of the tiles."""
        plan, density = here.per_run(lambda: self._planned(here), "plan")
        return here.attend(q, k, v, plan), density

    def _planned(self, here: PlannerCall) -> tuple[BlockPlan, Tensor]:
        block, tokens = here.block(self.settings.block), here.grid.tokens
        keep = self._blocks(here.grid, block).to(here.device) | here.always_kept(block, first_frame=False)
        plan = BlockPlan(keep[None, None], block, tokens, tokens)
        density = here.density(plan)
        if float(density) > NOTED * (ideal := self.ideal_density(here.grid)):
            here.call.run.note(self._straddling(here.grid, block, float(density), ideal))
        return plan, density

    def ideal_density(self, grid: VideoGrid) -> float:
        """Share of the token pairs that lie in tiles that read one another, or hold text."""
        size = self.layout.rank(grid).bincount().double()
        return 1 - (grid.video_tokens**2 - float(size @ self._tiles(grid).double() @ size)) / grid.tokens**2

    def _straddling(self, grid: VideoGrid, block: int, density: float, ideal: float) -> str:
        """What blocks do that lie in several tiles, what that costs, and how to avoid it."""
        tokens, fix = math.prod(self.settings.tile), "smaller blocks come nearer"
        what = f"what stands beside the tiles ({grid.other_tokens} other tokens)"
        if any(n % side for n, side in zip((grid.frames, grid.rows, grid.cols), self.settings.tile, strict=True)):
            what = f"the smaller tiles at the ends of {grid.frames} x {grid.rows} x {grid.cols} tokens"
        elif tokens % block:
            whole = [size for size in range(16, 129, 8) if tokens % size == 0]
            fix = f"block={max(whole)} would not" if whole else f"tiles of a multiple of {block} tokens would not"
            what = f"tiles of {tokens}"
        return (
            f"sliding-tile: blocks of {block} tokens do not divide {what}, so blocks that lie in several tiles read "
            f"the windows of all of them, a density of {density:.3f} where whole tiles have {ideal:.3f}; {fix}"
        )

    def _blocks(self, grid: VideoGrid, block: int) -> Tensor:
        """Blocks of the ordered tokens that hold a pair of tiles in one another's window."""
        read = self._tiles(grid)
        holds = torch.zeros(-(-grid.tokens // block), len(read))
        holds[torch.arange(grid.video.start, grid.video.stop) // block, self.layout.rank(grid).sort().values] = 1
        return holds @ read.float() @ holds.T > 0

    def _tiles(self, grid: VideoGrid) -> Tensor:
        """Which tiles (columns) a tile reads, bool ``[tiles, tiles]``."""
        read = torch.ones(1, 1, dtype=torch.bool)
        for count, width in zip(self.layout.count(grid), self.settings.window, strict=True):
            index = torch.arange(count)
            first = (index - width // 2).clamp(0, max(0, count - width))
            near = (index >= first[:, None]) & (index < first[:, None] + width)
            read = (read[:, None, :, None] & near[None, :, None]).flatten(2).flatten(0, 1)
        return read
