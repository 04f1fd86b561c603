"""The keys that a query reads, by token: the plan's blocks, the visible frames, and the keys that exist."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.attention.geometry.blocks import count_in_blocks
from genkit.attention.geometry.plan import BlockPlan, pairs_in_blocks, with_text
from genkit.attention.operators.pool import pool


@dataclass(frozen=True, eq=False)
class Tokens:
    """Mask of single tokens: query ``i`` reads key ``j`` if ``table[rows[i], cols[j]] & valid[b, j]``."""

    rows: Tensor
    """int64 ``[Nq]``, row of the table of each query."""
    cols: Tensor
    """int64 ``[Nk]``, column of each key."""
    table: Tensor
    """bool ``[rows, columns]``."""
    valid: Tensor
    """bool ``[B or 1, Nk]``."""


@dataclass(frozen=True, eq=False)
class Tail:
    """Replacement of the key blocks that a query block leaves out; float32, float64 for float64."""

    keys: Tensor
    """``[B, H, Kb, D]``, means."""
    values: Tensor
    """``[B, H, Kb, D]``, means."""
    count: Tensor
    """``[B or 1, Kb]``, number of existing keys of each block."""


@dataclass(frozen=True, eq=False)
class ReadMask:
    """All restrictions on which keys a query reads, on the device of the queries."""

    plan: BlockPlan
    frames_q: Tensor | None
    """int64 ``[Nq]``, latent frame of each query, -1 for text; given with ``visible``."""
    frames_k: Tensor | None
    """int64 ``[Nk]``, the same for keys."""
    visible: Tensor | None
    """bool ``[query frames, key frames]``; None is all."""
    valid: Tensor | None
    """bool ``[B or 1, Nk]``; False keys are padding; None is all."""

    @property
    def by_blocks(self) -> bool:
        """True if the plan alone decides."""
        return self.visible is None and self.valid is None

    @property
    def all(self) -> bool:
        """True if every query reads every key."""
        return self.by_blocks and self.plan.keeps_all

    def rows(self, rows: Tensor) -> Tensor:
        """Return what the queries ``rows`` [R] read, bool ``[B or 1, H or 1, R, Nk]``."""
        blocks = self.plan.keep[:, :, rows // self.plan.block]
        seen = blocks.repeat_interleave(self.plan.block, dim=-1)[..., : self.plan.keys]
        if self.visible is not None and self.frames_q is not None and self.frames_k is not None:
            seen = seen & with_text(self.visible)[self.frames_q[rows] + 1][:, self.frames_k + 1]
        return seen if self.valid is None else seen & self.valid[:, None, None]

    def tokens(self) -> Tokens:
        """Return the visible frames and the padding, restrictive or not."""
        plan, device = self.plan, self.plan.keep.device
        valid = torch.ones(1, plan.keys, dtype=torch.bool, device=device) if self.valid is None else self.valid
        if self.visible is None or self.frames_q is None or self.frames_k is None:
            rows, cols = (torch.zeros(n, dtype=torch.int64, device=device) for n in (plan.queries, plan.keys))
            return Tokens(rows, cols, torch.ones(1, 1, dtype=torch.bool, device=device), valid)
        return Tokens(self.frames_q + 1, self.frames_k + 1, with_text(self.visible), valid)

    def tail(self, k: Tensor, v: Tensor) -> Tail:
        """Return means and sizes of all key blocks."""
        keys, values = (pool(x, self.plan.block, valid=self.valid)[0] for x in (k, v))
        return Tail(keys, values, count_in_blocks(self.tokens().valid, self.plan.block).to(keys.dtype))

    def blocks(self) -> tuple[Tensor, Tensor]:
        """Return blocks of which some pairs are read, and of which all are; bool ``[B or 1, H or 1, Qb, Kb]``."""
        pairs = pairs_in_blocks(
            self.plan, frames_q=self.frames_q, frames_k=self.frames_k, visible=self.visible, valid=self.valid
        )
        whole = pairs == self.plan.sizes
        return self.plan.keep & (pairs > 0) & ~whole, self.plan.keep & whole
