"""Which blocks of keys each block of queries reads."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """The decision of a planner for one attention call.

    Queries and keys are cut into blocks of ``block`` tokens; the last block of each may be shorter.
    """

    keep: Tensor
    """bool ``[B or 1, H or 1, query blocks, key blocks]``; False blocks are not computed."""
    block: int
    """Tokens of a block."""
    queries: int
    """Query tokens."""
    keys: int
    """Key tokens."""
    note: str | None = None
    """A sentence for the receipt when the plan is not quite what was asked for; None when it is."""

    def __post_init__(self) -> None:
        expected = (-(-self.queries // self.block), -(-self.keys // self.block))
        if self.keep.dtype != torch.bool or self.keep.ndim != 4 or self.keep.shape[2:] != expected:
            raise ValueError(
                f"a plan for {self.queries} x {self.keys} tokens in blocks of {self.block} needs a bool table "
                f"[B, H, {expected[0]}, {expected[1]}], got {self.keep.dtype} {list(self.keep.shape)}"
            )

    @cached_property
    def density(self) -> float:
        """Share of the query-key token pairs that lie in kept blocks, in [0, 1]; ragged blocks count by their size."""
        rows = _sizes(self.queries, self.block, self.keep.device)
        cols = _sizes(self.keys, self.block, self.keep.device)
        kept = torch.einsum("bhqk,q,k->bh", self.keep.double(), rows, cols)
        return float(kept.mean()) / (self.queries * self.keys)

    @cached_property
    def lists(self) -> tuple[Tensor, Tensor]:
        """The table as lists: how many key blocks each query block reads ``[.., query blocks]``, and which
        ``[.., query blocks, key blocks]``, ascending, the kept ones first; int32."""
        return block_lists(self.keep)

    def to(self, device: torch.device | str) -> "BlockPlan":
        """The same plan on ``device``; itself when it is there already."""
        keep = self.keep.to(device)
        return self if keep is self.keep else BlockPlan(keep, self.block, self.queries, self.keys, self.note)


def block_lists(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Counts and indices of the True entries of each row of ``keep``; see ``BlockPlan.lists``."""
    order = keep.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return keep.sum(-1, dtype=torch.int32), order.to(torch.int32)


def visible_density(plan: BlockPlan, frames_q: Tensor, frames_k: Tensor, visible: Tensor) -> float:
    """Share of the query-key token pairs that lie in kept blocks and that ``visible`` allows, in [0, 1].

    Args:
        plan: the blocks.
        frames_q, frames_k: int64 ``[queries]`` and ``[keys]``, latent frame of each token; -1 is text, which sees and
            is seen by all.
        visible: bool ``[query frames, key frames]``.
    """
    device = plan.keep.device
    # Text is frame 0 of the padded table and sees everything; frame f becomes f + 1.
    table = torch.nn.functional.pad(visible.to(device), (1, 0, 1, 0), value=True).double()
    rows = _frame_counts(frames_q.to(device) + 1, plan.block, table.shape[0])
    cols = _frame_counts(frames_k.to(device) + 1, plan.block, table.shape[1])
    pairs = rows @ table @ cols.T
    return float((plan.keep * pairs).sum((-2, -1)).mean()) / (plan.queries * plan.keys)


def _frame_counts(frames: Tensor, block: int, count: int) -> Tensor:
    """Tokens of each frame in each block ``[blocks, count]``."""
    blocks = torch.arange(len(frames), device=frames.device) // block
    table = torch.zeros(-(-len(frames) // block), count, dtype=torch.float64, device=frames.device)
    return table.index_put((blocks, frames), torch.ones_like(frames, dtype=torch.float64), accumulate=True)


def _sizes(tokens: int, block: int, device: torch.device) -> Tensor:
    starts = torch.arange(0, tokens, block, device=device)
    return (tokens - starts).clamp_max(block).double()
