"""Attention with a table by PyTorch's own: each run of queries reads the keys that its row allows, copied together."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.operators.frame_table import reference
from genkit.attention.operators.frame_table.table import INF, FrameTable

SHORT = 16
"""Queries of a run, on average, below which runs are not attended one by one."""
LOGITS = 1 << 24
"""Max logits that are stored at once where PyTorch's attention cannot compute the table."""


def forward(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Return ``[B, H, Nq, D]``; see ``frame_table``."""
    if valid is not None:  # a mask does not hide NaN
        k, v = (x.masked_fill(~valid[:, None, :, None], 0) for x in (k, v))
    runs = table.runs
    if table.plain and len(runs) * SHORT > q.shape[2]:
        return _masked(q, k, v, table, scale, valid)
    out = q.new_empty(*q.shape[:3], v.shape[3])
    for begin, end, keys, here in table.kept("runs", lambda: _cut(table)):
        out[:, :, begin:end] = _run(q[:, :, begin:end], k, v, keys, here, scale, valid)
    return out


def _cut(table: FrameTable) -> list[tuple[int, int, Tensor, FrameTable]]:
    """Return begin and end of each run of queries, the keys that some video may read, and the table for these."""
    found = []
    for begin, end in table.runs:
        row = table.rows[..., begin].reshape(-1)
        keys = (table.bias[row][:, table.columns] > -INF).any(0).nonzero().flatten()
        here = replace(table, rows=table.rows[..., begin:end], columns=table.columns[keys])
        found.append((begin, end, keys, here))
    return found


def _run(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, here: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Attend of queries with one row each video, over some keys."""
    if not len(keys):
        return q.new_zeros(q.shape)
    k, v, valid = k[:, :, keys], v[:, :, keys], None if valid is None else valid[:, keys]
    if here.peak is not None or (here.gain is not None and here.positive):
        return _in_parts(q, k, v, here, scale, valid)
    if here.gain is not None:
        row = here.rows[..., 0].reshape(-1)
        k = k * here.gain[row][:, here.columns][:, None, :, None].to(k)
    only_bias = FrameTable(rows=here.rows[..., :1], columns=here.columns, bias=here.bias)
    return _masked(q, k, v, only_bias, scale, valid)


def _masked(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Attend with the bias as a mask; a table whose rows are one serves all queries."""
    bias = reference.of_pairs(table, table.bias, torch.promote_types(q.dtype, torch.float32))
    if valid is not None:
        bias = bias.masked_fill(~valid[:, None, None], -INF)
    if not bias.any():
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    nothing = (bias == -INF).all(-1)
    mask = bias.masked_fill(nothing[..., None], 0).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).masked_fill(nothing[..., None], 0)


def _in_parts(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Attend as the definition does, to as many queries at once as ``LOGITS`` allows."""
    each = max(1, LOGITS // max(1, q.shape[0] * q.shape[1] * k.shape[2]))
    starts = range(0, q.shape[2], each)
    parts = [(q[:, :, at : at + each], replace(table, rows=table.rows[..., at : at + each])) for at in starts]
    return torch.cat([reference.forward(part, k, v, rows, scale, valid) for part, rows in parts], 2)
