"""Sliding tiles: tokens are ordered in cubes of space and time, and a tile of queries reads the window around it.

Source: "Fast Video Generation with Sliding Tile Attention", arXiv 2502.04507, section 3: the centre of a window is
moved inside the video where it would reach out, so that every tile reads the same number of tiles. Published kernels
take three fixed sizes; here the tiles at the end of an axis may be smaller, and a block of the kernel is kept when any
pair of tiles in it is. One window serves all heads; the search over prompts for a window per head is not done.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genkit.attention.grid import VideoGrid
from genkit.attention.permute import inverse, permute
from genkit.attention.plan import BlockPlan
from genkit.attention.planners.here import Here

Sides = tuple[int, int, int]
EVERY_TILE = 1 << 20
"""A window wider than any video."""


@dataclass(frozen=True, kw_only=True)
class SlidingTilePlanner:
    """A window of whole tiles around each tile."""

    tile: Sides = (6, 8, 8)
    """Latent frames, rows and columns of a tile, in tokens."""
    window: Sides = (3, 3, 3)
    """Tiles along each axis that a tile reads; odd numbers centre it."""
    block: int | None = None
    """Tokens of a block of the kernel; None is 64, or less for small frames."""
    name: str = "sliding-tile"

    def refusal(self, here: Here) -> str | None:
        """Tiles mix frames."""
        return "it orders tokens in tiles and cannot hide frames" if here.call.visible is not None else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"window": (side, side, side)} for side in (1, 3, 5, 7, 9, 13, 19, 27, EVERY_TILE))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Order the tokens in tiles, attend, and put them back."""
        order, plan, density = here.shared(lambda: self._planned(here), "plan")
        out = here.attend(permute(q, order), permute(k, order), permute(v, order), plan)
        return permute(out, inverse(order)), density

    def _planned(self, here: Here) -> tuple[Tensor, BlockPlan, Tensor]:
        order, tile_of = tiled(here.grid, self.tile)
        block, tokens = here.block(self.block), here.grid.tokens
        keep = self._blocks(here.grid, tile_of, block).to(here.device) | here.kept_always(block, first_frame=False)
        plan = BlockPlan(keep[None, None], block, tokens, tokens)
        return order[None, None].to(here.device), plan, here.density(plan)

    def _blocks(self, grid: VideoGrid, tile_of: Tensor, block: int) -> Tensor:
        """Blocks of the ordered tokens that hold a pair of tiles in one another's window."""
        sides = tiles_along(grid, self.tile)
        read = torch.ones(1, 1, dtype=torch.bool)
        for count, width in zip(sides, self.window, strict=True):
            index = torch.arange(count)
            first = (index - width // 2).clamp(0, max(0, count - width))
            near = (index >= first[:, None]) & (index < first[:, None] + width)
            read = (read[:, None, :, None] & near[None, :, None]).flatten(2).flatten(0, 1)
        place = torch.arange(len(tile_of))
        holds = torch.zeros(-(-grid.tokens // block), len(read))
        video = tile_of >= 0
        holds[place[video] // block, tile_of[video]] = 1
        return holds @ read.float() @ holds.T > 0


def tiles_along(grid: VideoGrid, tile: Sides) -> Sides:
    """Tiles along frames, rows and columns; the last of each may be smaller."""
    frames, rows, cols = (-(-n // side) for n, side in zip((grid.frames, grid.rows, grid.cols), tile, strict=True))
    return frames, rows, cols


def tiled(grid: VideoGrid, tile: Sides) -> tuple[Tensor, Tensor]:
    """Tokens tile by tile, int64 ``[N]``, and the tile of each place in that order, -1 for text, which stays."""
    order, tile_of = torch.arange(grid.tokens), torch.full((grid.tokens,), -1)
    sides = tiles_along(grid, tile)
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in (grid.frames, grid.rows, grid.cols)), indexing="ij")
    cell = ((t // tile[0] * sides[1] + y // tile[1]) * sides[2] + x // tile[2]).flatten()
    along = cell.argsort(stable=True)
    order[grid.video] = along + grid.video.start
    tile_of[grid.video] = cell[along]
    return order, tile_of
