"""Static orders of the tokens of a video, in which neighbours of a block are neighbours in space and time.

Positions are rotated into queries and keys before attention, so a model's blocks give the same for tokens in any order,
up to rounding. A static order is therefore applied once in a forward of the model where that can be done (``hoist``).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid

Sides = tuple[int, int, int]
"""Along frames, rows and columns."""
TokenOrder = Literal["frames", "morton", "morton-2d"]
"""``frames``: one after the other, row by row; ``morton``: a Z-curve through space and time; ``morton-2d``: one in each
frame."""
BITS = 20
"""Of a coordinate; three of them fit into 64."""


class Layout(Protocol):
    """An order that depends on the grid alone; a frozen dataclass, so that equal ones are equal."""

    @property
    def mixes_frames(self) -> bool:
        """Whether tokens of several frames lie between one another."""
        ...

    def __hash__(self) -> int: ...

    def rank(self, grid: VideoGrid) -> Tensor:
        """What the video tokens, frame by frame, are sorted by; int64 ``[frames rows columns]``."""
        ...


@dataclass(frozen=True)
class Tiles:
    """Tile by tile; the last tile of an axis may be smaller."""

    sides: Sides
    """Of a tile."""
    mixes_frames: bool = True

    def count(self, grid: VideoGrid) -> Sides:
        """Tiles along each axis."""
        frames, rows, cols = (
            -(-n // side) for n, side in zip((grid.frames, grid.rows, grid.cols), self.sides, strict=True)
        )
        return frames, rows, cols

    def rank(self, grid: VideoGrid) -> Tensor:
        """As ``Layout.rank``: the number of the tile."""
        _, rows, cols = self.count(grid)
        t, y, x = (place // side for place, side in zip(places(grid), self.sides, strict=True))
        return (t * rows + y) * cols + x


@dataclass(frozen=True)
class Morton:
    """Along a Z-curve, which takes the bits of the coordinates in turn."""

    mixes_frames: bool = True
    """Through space and time; False is a curve in each frame."""

    def rank(self, grid: VideoGrid) -> Tensor:
        """As ``Layout.rank``."""
        t, y, x = places(grid)
        axes = (t, y, x) if self.mixes_frames else (y, x)
        rank = torch.zeros_like(t) if self.mixes_frames else t
        for bit in reversed(range(BITS)):
            for axis in axes:
                rank = rank << 1 | axis >> bit & 1
        return rank


def places(grid: VideoGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Frame, row and column of each video token, frame by frame; int64 ``[frames rows columns]`` each."""
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in (grid.frames, grid.rows, grid.cols)), indexing="ij")
    return t.flatten(), y.flatten(), x.flatten()


def ordered(grid: VideoGrid, layout: Layout) -> Tensor:
    """The token of ``grid`` that comes to each place, int64 ``[N]``; text stays where it is."""
    order = torch.arange(grid.tokens)
    order[grid.video] = layout.rank(grid).argsort(stable=True) + grid.video.start
    return order


def layout_of(order: TokenOrder) -> Layout | None:
    """The layout of a name; None for tokens as they are."""
    return None if order == "frames" else Morton(mixes_frames=order == "morton")
