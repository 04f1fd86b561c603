"""Sliding tiles: tokens are ordered in tiles of space and time, and a tile of queries reads the window around it.

Source: "Fast Video Generation with Sliding Tile Attention", arXiv 2502.04507, section 3: windows that would extend
beyond the video are shifted inside, so that every tile reads the same number of tiles. On videos of whole tiles, with
windows of odd sides, the mask equals that of the published code block for block. Different from the source:

- published kernels support three fixed sizes; here the tiles at the end of an axis may be smaller. A block of the
  kernel that overlaps several tiles reads the windows of all of them: the density is 1.06 to 1.16 times that of whole
  tiles on Wan at 480p and 720p, HunyuanVideo at 720p and CogVideoX; the receipt reports both numbers;
- a window of an even side reads exactly that many tiles (published: one more);
- all heads share one window; the search over prompts for a window per head is not implemented.
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
"""Window wider than any video."""
NOTED = 1.01
"""Ratio of the density to that of whole tiles above which a note is made."""


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
        """Tile by tile."""
        return Tiles(self.settings.tile)

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
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
        """Return the density if tiles were read exactly: token pairs of tiles that read one another, or with text."""
        size = self.layout.rank(grid).bincount().double()
        return 1 - (grid.video_tokens**2 - float(size @ self._tiles(grid).double() @ size)) / grid.tokens**2

    def _straddling(self, grid: VideoGrid, block: int, density: float, ideal: float) -> str:
        """Note about blocks that overlap several tiles, their cost, and how to avoid it."""
        tokens, fix = math.prod(self.settings.tile), "smaller blocks come nearer"
        what = f"the {grid.other_tokens} other tokens beside the tiles"
        if any(n % side for n, side in zip((grid.frames, grid.rows, grid.cols), self.settings.tile, strict=True)):
            what = f"the smaller tiles at the ends of {grid.frames} x {grid.rows} x {grid.cols} tokens"
        elif tokens % block:
            whole = [size for size in range(16, 129, 8) if tokens % size == 0]
            fix = f"block={max(whole)} would not" if whole else f"tiles of a multiple of {block} tokens would not"
            what = f"tiles of {tokens}"
        return (
            f"sliding-tile: blocks of {block} tokens do not divide {what}, so blocks that overlap several tiles read "
            f"the windows of all of them, a density of {density:.3f} instead of {ideal:.3f} for whole tiles; {fix}"
        )

    def _blocks(self, grid: VideoGrid, block: int) -> Tensor:
        """Block pairs of the ordered tokens with a pair of tiles that read one another, bool ``[blocks, blocks]``."""
        read = self._tiles(grid)
        overlap = torch.zeros(-(-grid.tokens // block), len(read))
        overlap[torch.arange(grid.video.start, grid.video.stop) // block, self.layout.rank(grid).sort().values] = 1
        return overlap @ read.float() @ overlap.T > 0

    def _tiles(self, grid: VideoGrid) -> Tensor:
        """Tiles (columns) that each tile reads, bool ``[tiles, tiles]``."""
        read = torch.ones(1, 1, dtype=torch.bool)
        for count, width in zip(self.layout.count(grid), self.settings.window, strict=True):
            index = torch.arange(count)
            first = (index - width // 2).clamp(0, max(0, count - width))
            near = (index >= first[:, None]) & (index < first[:, None] + width)
            read = (read[:, None, :, None] & near[None, :, None]).flatten(2).flatten(0, 1)
        return read
