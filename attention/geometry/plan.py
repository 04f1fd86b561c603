"""The blocks of keys that each block of queries reads."""

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
    """A sentence for the receipt if the plan differs from the request; None if it does not."""

    def __post_init__(self) -> None:
        expected = (-(-self.queries // self.block), -(-self.keys // self.block))
        if self.keep.dtype != torch.bool or self.keep.ndim != 4 or self.keep.shape[2:] != expected:
            raise ValueError(
                f"a plan for {self.queries} x {self.keys} tokens in blocks of {self.block} needs a bool table "
                f"[B, H, {expected[0]}, {expected[1]}], got {self.keep.dtype} {list(self.keep.shape)}"
            )

    @cached_property
    def density(self) -> float:
        """Share of the query-key token pairs in kept blocks, in [0, 1]; ragged blocks count by their size."""
        return self.share(self.sizes)

    @cached_property
    def keeps_all(self) -> bool:
        """True if no block is left out."""
        return bool(self.keep.all())

    @property
    def sizes(self) -> Tensor:
        """Query-key token pairs of each pair of blocks, float64 ``[query blocks, key blocks]``."""
        rows, cols = (_sizes(tokens, self.block, self.keep.device) for tokens in (self.queries, self.keys))
        return rows[:, None] * cols

    @cached_property
    def lists(self) -> tuple[Tensor, Tensor]:
        """The table as lists: the number of key blocks that each query block reads ``[.., query blocks]``, and their
        indices ``[.., query blocks, key blocks]``, ascending, the kept ones first; int32."""
        return block_lists(self.keep)

    @cached_property
    def split_lists(self) -> "Lists":
        """Block lists when no mask is given (cached)."""
        return split_lists(self, torch.zeros_like(self.keep), self.keep)

    def share(self, pairs: Tensor) -> float:
        """Return the share of all token pairs in kept blocks if ``pairs`` [.., Qb, Kb] of each pair of blocks count."""
        return float((self.keep * pairs).sum((-2, -1)).mean()) / (self.queries * self.keys)

    def to(self, device: torch.device | str) -> "BlockPlan":
        """Return the same plan on ``device``; itself if it is already there."""
        keep = self.keep.to(device)
        return self if keep is self.keep else BlockPlan(keep, self.block, self.queries, self.keys, self.note)


Lists = tuple[Tensor, Tensor, Tensor, Tensor]
"""Counts and indices of the blocks that are read whole, and of those that are read in part; see ``block_lists``."""


def split_lists(plan: BlockPlan, some: Tensor, whole: Tensor) -> Lists:
    """Return the lists of the blocks ``whole`` and ``some``; a shorter last block is added to those read in part."""
    if plan.keys % plan.block:
        last = torch.arange(whole.shape[-1], device=whole.device) == whole.shape[-1] - 1
        some, whole = some | (whole & last), whole & ~last
    return *block_lists(whole), *block_lists(some)


def block_lists(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Return counts and indices of the True entries of each row of ``keep``; see ``BlockPlan.lists``."""
    order = keep.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return keep.sum(-1, dtype=torch.int32), order.to(torch.int32)


def pairs_in_blocks(
    plan: BlockPlan,
    *,
    frames_q: Tensor | None = None,
    frames_k: Tensor | None = None,
    visible: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Count the query-key token pairs of each pair of blocks that may be read, whether the plan keeps it or not.

    Args:
        plan: the blocks; all tensors are on its device.
        frames_q, frames_k: int64 ``[queries]`` and ``[keys]``, latent frame of each token; -1 is text, which reads and
            is read by all. Needed with ``visible``.
        visible: bool ``[query frames, key frames]``; None is all.
        valid: bool ``[B or 1, keys]``; False keys are read by none; None is all.

    Returns:
        float64 ``[B or 1, 1, query blocks, key blocks]``.
    """
    device = plan.keep.device
    queries = torch.ones(1, plan.queries, dtype=torch.float64, device=device)
    keys = torch.ones(1, plan.keys, dtype=torch.float64, device=device) if valid is None else valid.double()
    if visible is None or frames_q is None or frames_k is None:
        rows = _block_sums(queries, torch.zeros(plan.queries, dtype=torch.int64, device=device), plan.block, 1)
        cols = _block_sums(keys, torch.zeros(plan.keys, dtype=torch.int64, device=device), plan.block, 1)
        return (rows @ cols.mT)[:, None]
    table = with_text(visible).double()
    rows = _block_sums(queries, frames_q + 1, plan.block, table.shape[0])
    cols = _block_sums(keys, frames_k + 1, plan.block, table.shape[1])
    return (rows @ table @ cols.mT)[:, None]


def with_text(visible: Tensor) -> Tensor:
    """Return ``visible`` with a first row and column for text, so that it is indexed by frame + 1."""
    return torch.nn.functional.pad(visible, (1, 0, 1, 0), value=True)


def _block_sums(weights: Tensor, frames: Tensor, block: int, count: int) -> Tensor:
    """Return the sum of the ``weights`` [.., tokens] of each frame in each block ``[.., blocks, count]``."""
    blocks = -(-len(frames) // block)
    cell = torch.arange(len(frames), device=frames.device) // block * count + frames
    sums = torch.zeros(len(weights), blocks * count, dtype=torch.float64, device=frames.device)
    return sums.index_add_(1, cell, weights).unflatten(1, (blocks, count))


def _sizes(tokens: int, block: int, device: torch.device) -> Tensor:
    starts = torch.arange(0, tokens, block, device=device)
    return (tokens - starts).clamp_max(block).double()
