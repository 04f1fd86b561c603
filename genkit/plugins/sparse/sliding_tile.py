"""Sliding tiles: tiles of space and time read the tiles around them."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from genkit.attention.planners.sliding_tile import SlidingTilePlanner
from genkit.errors import UsageError
from genkit.plugins.sparse.method import Sparse

Sides = Annotated[tuple[int, int, int], "frames x rows x columns"]


@dataclass(frozen=True, kw_only=True)
class SlidingTile(Sparse):
    """Sparse attention: the video is cut into tiles of space and time, and each reads the window of tiles around it.

    Source: arXiv 2502.04507. All heads share one window (the source searches one for each), any video size is accepted,
    and windows are shifted inwards at the borders, so that all tiles read the same number. If tiles do not divide the
    video, blocks that span several tiles read more, 1.06 to 1.16 times on the usual sizes of Wan, HunyuanVideo and
    CogVideoX; the receipt says how much.
    """

    name: ClassVar[str] = "sliding-tile"
    title: ClassVar[str] = "Sliding Tile Attention"
    paper: ClassVar[str] = "arXiv 2502.04507"
    hides_frames: ClassVar[bool] = False
    sparse_example: ClassVar[str] = "tile=2x2x2,window=1x1x1"
    dense_example: ClassVar[str] = "tile=2x2x2,window=9x9x9"
    tiny_example: ClassVar[str] = "tile=3x4x4,window=3x1x1"

    tile: Sides = (6, 8, 8)
    """Latent frames, rows and columns of a tile, in tokens."""
    window: Sides = (3, 3, 3)
    """Tiles that each tile reads along each axis, including itself; odd numbers are centred, large ones read all."""
    dense_steps: float = 0.24
    """Share of the steps, from the first, that run dense (the paper: 12 of 50); 0 is none."""
    dense_layers: int = 0
    """Layers, from the first, that run dense (the paper: none)."""

    def check(self) -> None:
        """Check sides."""
        for field in ("tile", "window"):
            sides = getattr(self, field)
            if len(sides) != 3 or min(sides) < 1:
                raise UsageError(
                    f"sliding-tile: {field}={sides} must be three numbers of at least 1: frames, rows and columns"
                )

    def planner(self) -> SlidingTilePlanner:
        """Return the planner that follows these fields."""
        return SlidingTilePlanner(self)
