"""VMoBA's mixture of blocks: queries choose among chunks of the video, cut along time, space or both in turn.

Source: "VMoBA", arXiv 2506.23858, and its published code: the partition changes from layer to layer, and a chunk's gate
is the product of the query with the mean of its keys. It was made for training; without it the paper itself reports
16.0 dB on Wan 2.1 1.3B where other methods reach 20 to 30, so this is here to be compared against, not to be used.
Different from the source: blocks of queries choose together (by their mean), and partitions need not divide the video.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genkit.attention.permute import inverse, permute
from genkit.attention.plan import BlockPlan
from genkit.attention.planners.here import Here
from genkit.attention.pool import pool

Partition = Literal["time", "space", "both"]
PARTITIONS: tuple[Partition, ...] = ("time", "space", "both")


@dataclass(frozen=True, kw_only=True)
class VMoBAPlanner:
    """Chunks by their gates' share, with the query's own chunk always kept."""

    threshold: float = 0.25
    """Share of the min-max normalised gates of a row that is kept, in (0, 1]."""
    block: int | None = None
    """Tokens of a chunk; None is 64, or less for small frames."""
    name: str = "vmoba"

    def refusal(self, here: Here) -> str | None:
        """Chunks of places have no windows of frames."""
        return "it reorders tokens by place and cannot hide frames" if here.call.visible is not None else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"threshold": share} for share in (0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 0.9, 1.1))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Order the tokens by this layer's partition, choose, attend, and put them back."""
        kind = PARTITIONS[here.call.depth % len(PARTITIONS)]
        order = here.shared(
            lambda: order_of(here, kind, here.block(self.block))[None, None].to(here.device), "order", kind
        )
        q, k, v = (permute(x, order) for x in (q, k, v))
        plan = self.plan(q, k, here)
        return permute(here.attend(q, k, v, plan), inverse(order)), here.density(plan)

    def plan(self, q: Tensor, k: Tensor, here: Here) -> BlockPlan:
        """The chunks that each block of queries reads ``[B, H, blocks, blocks]``."""
        block = here.block(self.block)
        gate = pool(q, block)[0] @ pool(k, block, valid=here.valid)[0].mT
        low, high = gate.amin(-1, keepdim=True), gate.amax(-1, keepdim=True)
        share = (gate - low) / (high - low).clamp_min(1e-12)
        share = share / share.sum(-1, keepdim=True).clamp_min(1e-12)
        own = torch.eye(*share.shape[-2:], dtype=torch.bool, device=share.device)
        need = self.threshold - share.diagonal(dim1=-2, dim2=-1)[..., None]
        ordered, place = share.masked_fill(own, 0).sort(-1, descending=True)
        taken = ordered.cumsum(-1) - ordered < need  # the one that crosses the threshold is taken
        keep = torch.zeros_like(taken).scatter_(-1, place, taken) | own
        return BlockPlan(keep | here.kept_always(block, first_frame=False), block, q.shape[2], k.shape[2])


def order_of(here: Here, kind: Partition, block: int) -> Tensor:
    """Tokens in the order of a partition, int64 ``[N]``; text stays where it is.

    ``time``: as they are; ``space``: places of all frames side by side; ``both``: cubes of about ``block`` tokens.
    """
    grid = here.grid
    order = torch.arange(grid.tokens)
    video = order[grid.video].view(grid.frames, grid.rows, grid.cols)
    if kind == "time":
        return order
    edge = max(1, round(block ** (1 / 3))) if kind == "both" else 1
    depth = edge if kind == "both" else grid.frames
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in video.shape), indexing="ij")
    cell = (t // depth * grid.rows + y // edge) * grid.cols + x // edge
    order[grid.video] = video.flatten()[cell.flatten().argsort(stable=True)]
    return order
