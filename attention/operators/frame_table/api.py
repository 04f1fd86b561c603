"""Attention with a gain, a bias and a window for each pair of groups of tokens."""

from typing import Literal

import torch
from torch import Tensor

from genkit.attention.operators.choice import kernel_of
from genkit.attention.operators.frame_table import gather, reference
from genkit.attention.operators.frame_table.table import FrameTable

TableImpl = Literal["auto", "triton", "gather", "reference"]


def frame_table(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: FrameTable,
    *,
    scale: float | None = None,
    valid: Tensor | None = None,
    impl: TableImpl = "auto",
) -> Tensor:
    """Compute attention whose logits a table changes: windows, decay with distance, sinks, routing of texts.

    Pairs of groups that the table hides are not computed where whole tiles of keys are hidden.
    Source: the common form of FreeNoise's windows (arXiv 2310.15169, eq. 8), the decay of UltraViCo (arXiv 2511.20123,
    eq. 5), the temporal regularisation of VSTAR (arXiv 2403.13501) and routing of texts by frame (arXiv 2604.10030).

    Args:
        q: ``[B, H, Nq, D]``; any strides, as k and v.
        k: ``[B, H, Nk, D]``.
        v: ``[B, H, Nk, D]``.
        table: groups of the tokens, and the numbers of each pair of groups.
        scale: factor on the logits, before the table; None is ``D ** -0.5``.
        valid: bool ``[B or 1, Nk]``; False keys are padding and never read; None is all.
        impl: ``"triton"`` needs a CUDA device; ``"gather"`` uses PyTorch's attention on any device, the ``"auto"``
            choice where the kernel does not run; an explicit choice never falls back.

    Returns:
        ``[B, H, Nq, D]`` in the dtype of ``q``; 0 for a query that reads nothing.

    Raises:
        ValueError: a shape or choice above is not respected.
    """
    _check(q, k, v, table, valid)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if not q.shape[2] * k.shape[2]:
        return q.new_zeros(q.shape)
    if kernel := kernel_of("frame_table", impl, q, others=("gather",)):
        out: Tensor = kernel.forward(q, k, v, table, scale, valid)
        return out
    return (reference if impl == "reference" else gather).forward(q, k, v, table, scale, valid)


def _check(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, valid: Tensor | None) -> None:
    if q.ndim != 4 or k.shape != v.shape or k.shape[:2] != q.shape[:2] or k.shape[3:] != q.shape[3:]:
        raise ValueError(
            f"frame_table takes q [B, H, Nq, D] and k, v [B, H, Nk, D], got {list(q.shape)}, {list(k.shape)} and "
            f"{list(v.shape)}"
        )
    if tuple(table.rows.shape) not in ((q.shape[2],), (q.shape[0], q.shape[2])):
        raise ValueError(
            f"rows of the table must be [{q.shape[2]}] or [{q.shape[0]}, {q.shape[2]}], as there are {q.shape[2]} "
            f"queries; got {list(table.rows.shape)}"
        )
    if tuple(table.columns.shape) != (k.shape[2],):
        raise ValueError(f"columns of the table must be [{k.shape[2]}], one a key; got {list(table.columns.shape)}")
    if valid is not None and (
        valid.dtype != torch.bool or tuple(valid.shape) not in ((1, k.shape[2]), (len(q), k.shape[2]))
    ):
        raise ValueError(f"valid must be bool [{len(q)} or 1, {k.shape[2]}], got {valid.dtype} {list(valid.shape)}")
