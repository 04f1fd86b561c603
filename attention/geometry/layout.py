"""Static orders of the tokens of a video, in which neighbours in a block are neighbours in space and time.

Positions are rotated into queries and keys before attention, so a model's blocks return the same for tokens in any
order, up to rounding. A static order is therefore applied once per forward where possible (``hoist``).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid

Sides = tuple[int, int, int]
"""Lengths along frames, rows and columns."""
TokenOrder = Literal["frames", "morton", "morton-2d"]
"""``frames``: one after the other, row by row; ``morton``: a Z-curve through space and time; ``morton-2d``: one in each
frame."""
BITS = 20
"""Bits of a coordinate; three coordinates fit into 64."""


class Layout(Protocol):
    """An order that depends only on the grid; a frozen dataclass, so that equal ones compare equal."""

    @property
    def mixes_frames(self) -> bool:
        """True if tokens of several frames are interleaved."""
        ...

    def __hash__(self) -> int: ...

    def rank(self, grid: VideoGrid) -> Tensor:
        """Return the sort keys of the video tokens, frame by frame; int64 ``[frames rows columns]``."""
        ...


@dataclass(frozen=True)
class Tiles:
    """Tile by tile; the last tile of an axis may be smaller."""

    sides: Sides
    """Sides of a tile."""
    mixes_frames: bool = True

    def count(self, grid: VideoGrid) -> Sides:
        """Return the tiles along each axis."""
        frames, rows, cols = (
            -(-n // side) for n, side in zip((grid.frames, grid.rows, grid.cols), self.sides, strict=True)
        )
        return frames, rows, cols

    def rank(self, grid: VideoGrid) -> Tensor:
        """Return the number of each token's tile; see ``Layout.rank``."""
        _, rows, cols = self.count(grid)
        t, y, x = (place // side for place, side in zip(places(grid), self.sides, strict=True))
        return (t * rows + y) * cols + x


@dataclass(frozen=True)
class Morton:
    """Along a Z-curve, which interleaves the bits of the coordinates."""

    mixes_frames: bool = True
    """True: through space and time; False: a curve in each frame."""

    def rank(self, grid: VideoGrid) -> Tensor:
        """Return the place of each token on the curve; see ``Layout.rank``."""
        t, y, x = places(grid)
        axes = (t, y, x) if self.mixes_frames else (y, x)
        rank = torch.zeros_like(t) if self.mixes_frames else t
        for bit in reversed(range(BITS)):
            for axis in axes:
                rank = rank << 1 | axis >> bit & 1
        return rank


def places(grid: VideoGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Return frame, row and column of each video token, frame by frame; int64 ``[frames rows columns]`` each."""
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in (grid.frames, grid.rows, grid.cols)), indexing="ij")
    return t.flatten(), y.flatten(), x.flatten()


def ordered(grid: VideoGrid, layout: Layout) -> Tensor:
    """Return the token of ``grid`` at each place of the order, int64 ``[N]``; text stays where it is."""
    order = torch.arange(grid.tokens)
    order[grid.video] = layout.rank(grid).argsort(stable=True) + grid.video.start
    return order


def layout_of(order: TokenOrder) -> Layout | None:
    """Return the layout of a name; None for tokens frame by frame."""
    return None if order == "frames" else Morton(mixes_frames=order == "morton")
