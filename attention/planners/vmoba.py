"""VMoBA, mixture of blocks: queries select chunks of the video, cut along time, space or both from layer to layer.

Source: "VMoBA", arXiv 2506.23858, and its published code: the partition alternates between layers, and a chunk's gate
is the product of the query with the mean of its keys. It was designed for training; without training the paper itself
reports 16.0 dB on Wan 2.1 1.3B, where other methods reach 20 to 30, so it is here for comparison only.

Chunks are those of the published setting for Wan 2.1 at 480p: 2 frames; 3 x 4 tokens of all frames; 4 frames of 6 x 4
tokens. The gates of a row are min-max normalised over the chunks of the video to shares that add up to 1; its own chunk
is always read, and the others in descending order until ``threshold`` is reached. Different from the source:

- blocks of queries select chunks by their mean (published: each query separately);
- chunks need not divide the video, and the last of an axis may be smaller;
- the kernel reads blocks of equal size, and a block that overlaps several chunks is read for each of them.
  ``block=None`` takes the largest multiple of 16 up to 64, or else the largest number from 16 to 64, that divides a
  chunk: at the published 77 frames of 480 x 832 blocks do not overlap several chunks, and at 81 frames the density is
  at most 1.07 times that of the chunks. With random queries and keys it is 0.22, 0.16 and 0.17 along time, space and
  both, the same as query by query;
- text is read by all and reads all, and does not count in the shares.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Sides, Tiles, ordered
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.permute import inverse, permute
from genkit.attention.operators.pool import pool
from genkit.attention.planning.planner import MethodPlanner, Settings
from genkit.attention.planning.planner_call import PlannerCall

Partition = Literal["time", "space", "both"]
PARTITIONS: tuple[Partition, ...] = ("time", "space", "both")


class VMoBASettings(Settings, Protocol):
    """Fields of ``genkit.VMoBA`` that decide what is read."""

    @property
    def threshold(self) -> float: ...
    @property
    def time(self) -> int: ...
    @property
    def space(self) -> tuple[int, int]: ...
    @property
    def both(self) -> Sides: ...


class VMoBAPlanner(MethodPlanner[VMoBASettings]):
    """Chunks by their share of the gates; the query's own chunk is always kept."""

    across_heads = False

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse calls that hide frames, because chunks mix frames."""
        return "it reorders tokens by place and cannot hide frames" if here.call.visible is not None else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"threshold": share} for share in (0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 0.9, 1.0))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Reorder the tokens by this layer's partition, select, attend, and restore the order."""
        chunks = self.chunks(here)
        q, k, v = (permute(x, chunks.order[None, None]) for x in (q, k, v))
        plan = self.plan(q, k, here)
        return permute(here.attend(q, k, v, plan), inverse(chunks.order[None, None])), here.density(plan)

    def chunks(self, here: PlannerCall) -> "Chunks":
        """Return the partition of this layer."""
        kind = PARTITIONS[here.call.depth % len(PARTITIONS)]
        return here.per_run(lambda: self._cut(kind, here), "chunks", kind)

    def _cut(self, kind: Partition, here: PlannerCall) -> "Chunks":
        grid = here.grid
        sides: dict[Partition, Sides] = {
            "time": (self.settings.time, grid.rows, grid.cols),
            "space": (grid.frames, *self.settings.space),
            "both": self.settings.both,
        }
        layout = Tiles(sides[kind])
        sizes = [min(side, n) for side, n in zip(layout.sides, (grid.frames, grid.rows, grid.cols), strict=True)]
        block = self.settings.block or divisor_of(sizes[0] * sizes[1] * sizes[2]) or here.block(None)
        return Chunks.of(grid, layout, block).to(here.device)

    def plan(self, q: Tensor, k: Tensor, here: PlannerCall) -> BlockPlan:
        """Return the plan ``[B, H, blocks, blocks]`` for tokens in the order of the chunks."""
        chunks = self.chunks(here)
        chosen = self.chosen(q, k, chunks)
        keep = chosen.float() @ chunks.overlap.T > 0
        return BlockPlan(keep | here.always_kept(chunks.block, first_frame=False), chunks.block, q.shape[2], k.shape[2])

    def chosen(self, q: Tensor, k: Tensor, chunks: "Chunks") -> Tensor:
        """Return the chunks that each block of queries reads, bool ``[B, H, blocks, chunks]``."""
        gate = pool(q, chunks.block)[0] @ chunks.means(k).mT
        low, high = gate.amin(-1, keepdim=True), gate.amax(-1, keepdim=True)
        share = (gate - low) / (high - low).clamp_min(1e-12)
        share = share / share.sum(-1, keepdim=True).clamp_min(1e-12)
        own = chunks.overlap > 0
        # The smallest gate of a row counts as 0, so the others add up to 1 without it.
        wanted = math.inf if self.settings.threshold == 1 else self.settings.threshold
        need = wanted - (share * own).sum(-1, keepdim=True)
        sorted_share, place = share.masked_fill(own, 0).sort(-1, descending=True)
        taken = sorted_share.cumsum(-1) - sorted_share < need  # including the one that crosses the threshold
        return torch.zeros_like(taken).scatter_(-1, place, taken) | own


@dataclass(frozen=True)
class Chunks:
    """Partition of the video."""

    order: Tensor
    """Token order chunk by chunk, int64 ``[N]``; text is not moved."""
    overlap: Tensor
    """1 where a block of the ordered tokens contains one of a chunk, float ``[blocks, chunks]``."""
    members: Tensor
    """Indices of the tokens of each chunk in that order, int64 ``[chunks, tokens of the largest]``; padded with -1."""
    block: int

    @staticmethod
    def of(grid: VideoGrid, layout: Tiles, block: int) -> "Chunks":
        """Cut the video of ``grid`` into the tiles of ``layout``."""
        chunk, place = layout.rank(grid).sort().values, torch.arange(grid.video.start, grid.video.stop)
        size = chunk.bincount()
        overlap = torch.zeros(-(-grid.tokens // block), len(size))
        overlap[place // block, chunk] = 1
        members = torch.full((len(size), int(size.max())), -1)
        members[chunk, torch.arange(len(chunk)) - (size.cumsum(0) - size)[chunk]] = place
        return Chunks(ordered(grid, layout), overlap, members, block)

    def to(self, device: torch.device) -> "Chunks":
        """Return the same partition on ``device``."""
        return Chunks(self.order.to(device), self.overlap.to(device), self.members.to(device), self.block)

    def means(self, k: Tensor) -> Tensor:
        """Return the mean key of each chunk, float ``[B, H, chunks, D]``; deterministic on a GPU, too."""
        there = (self.members >= 0)[..., None]
        taken = k[:, :, self.members.clamp_min(0)].float() * there
        return taken.sum(3) / there.sum(1)


def divisor_of(tokens: int) -> int | None:
    """Return the largest multiple of 16, or else the largest number, from 16 to 64 that divides ``tokens``, if any."""
    whole = [size for size in range(16, 65) if tokens % size == 0]
    return max([size for size in whole if size % 16 == 0] or whole, default=None)
