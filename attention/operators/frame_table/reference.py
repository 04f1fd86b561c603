"""The definition of attention with a table."""

import torch
from torch import Tensor

from genkit.attention.operators.frame_table.table import INF, FrameTable


def forward(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Return ``[B, H, Nq, D]``, computed in float32, in float64 for float64; a query that reads nothing gives 0."""
    wide = torch.promote_types(q.dtype, torch.float32)
    logits = q.to(wide) @ k.to(wide).mT * scale
    bias = of_pairs(table, table.bias, wide)
    hidden = bias == -INF if valid is None else (bias == -INF) | ~valid[:, None, None]
    if table.gain is not None:
        gained = logits * of_pairs(table, table.gain, wide)
        logits = torch.where(logits > 0, gained, logits) if table.positive else gained
    logits = logits.masked_fill(hidden, -INF)
    if table.peak is not None:
        logits = logits + of_pairs(table, table.peak, wide) * logits.amax(-1, keepdim=True).clamp_min(
            torch.finfo(wide).min
        )
    logits = logits + bias.masked_fill(hidden, 0)
    nothing = (logits == -INF).all(-1, keepdim=True)
    unread = v.to(wide) if valid is None else v.to(wide).masked_fill(~valid[:, None, :, None], 0)
    return (logits.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0) @ unread).to(q.dtype)


def of_pairs(table: FrameTable, values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``[B or 1, 1, Nq, Nk]``, the entry of each pair of tokens."""
    found = values.to(dtype)[table.rows][..., table.columns]
    return found[None, None] if found.ndim == 2 else found[:, None]
