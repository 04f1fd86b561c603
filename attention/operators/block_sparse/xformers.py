"""Block-sparse attention on xformers, as far as it is supported: all blocks, or windows that do not overlap."""

import importlib.util

import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse.read_mask import ReadMask


def refusal(q: Tensor, read_mask: ReadMask, with_lse: bool, with_tail: bool) -> str | None:
    """Return the reason this call is not supported, or None."""
    if q.device.type != "cuda":
        return f"it is for NVIDIA GPUs, and these queries are on {q.device.type}"
    if importlib.util.find_spec("xformers") is None:
        return "xformers is not installed; pip install xformers"
    if with_lse or with_tail:
        return f"here it has no {'log-sum-exp' if with_lse else 'tail'}"
    if not read_mask.by_blocks or windows_of(read_mask.plan) is None:
        return "it does dense attention and windows that do not overlap, the same for all heads, and no other masks"
    return None


def windows_of(plan: BlockPlan) -> list[tuple[int, int]] | None:
    """Return queries and keys, in tokens, of each window of a block-diagonal plan in order; None for any other plan.

    Dense attention is one window.
    """
    if plan.keep.shape[:2] != (1, 1):
        return None
    table, squares, row, column = plan.keep[0, 0].cpu(), [], 0, 0
    drawn = torch.zeros_like(table)
    while row < table.shape[0] and column < table.shape[1] and table[row, column]:
        bottom = row + int(table[row:, column].long().cumprod(0).sum())
        right = column + int(table[row, column:].long().cumprod(0).sum())
        drawn[row:bottom, column:right] = True
        squares.append((row, bottom, column, right))
        row, column = bottom, right
    if (row, column) != table.shape or not torch.equal(drawn, table):
        return None
    queries, keys = ([min(i * plan.block, n) for i in range(n + 1)] for n in (plan.queries, plan.keys))
    return [(queries[bottom] - queries[top], keys[right] - keys[left]) for top, bottom, left, right in squares]


def forward(q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float) -> Tensor:
    """Return the output ``[B, H, Nq, D]``: all windows of all batches are concatenated in one call."""
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    windows = windows_of(read_mask.plan)
    assert windows is not None
    rows = [x.transpose(1, 2).flatten(0, 1)[None] for x in (q, k, v)]
    queries, keys = zip(*windows * q.shape[0], strict=True)
    out: Tensor = memory_efficient_attention(
        *rows, attn_bias=BlockDiagonalMask.from_seqlens(queries, keys), scale=scale
    )
    return out[0].unflatten(0, (q.shape[0], q.shape[2])).transpose(1, 2)
