"""Attention that reads blocks with a high pooled score exactly, and all others by their mean."""

from typing import Literal

import torch
from torch import Tensor

from genkit.attention.operators.block_sparse import block_sparse
from genkit.attention.operators.choice import kernel_of
from genkit.attention.operators.threshold import reference
from genkit.attention.operators.threshold.plan import threshold_plan

ThresholdImpl = Literal["auto", "triton", "gather", "reference"]


def threshold_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    block: int = 64,
    tau: float = 1.0,
    scale: float | None = None,
    sinks: Tensor | None = None,
    valid: Tensor | None = None,
    impl: ThresholdImpl = "auto",
) -> tuple[Tensor, Tensor]:
    """Compute self-attention in which each query block reads some key blocks exactly, all others as one mean key each.

    A block is exact when the mean score of its query block with its mean key is more than ``tau`` deviations above the
    mean over all key blocks, when it is the query block's own or a neighbour of it, or when either is a sink. A block
    that is not exact counts as its number of keys, all at their mean, with the mean of their values.
    Source: "Sol-Attn", arXiv 2607.24027 (the "diag" form of the threshold); no sort, no mask and no state.

    Args:
        q, k, v: ``[B, H, N, D]``; any strides.
        block: tokens of a block.
        tau: deviations above the mean; 1 keeps about 16 % of the blocks beside neighbours and sinks, 1.5 about 7 %, 2
            about 3 %; ``-inf`` is dense.
        scale: factor on the logits; None is ``D ** -0.5``.
        sinks: bool ``[blocks]``, blocks that are read by all and read all exactly; None is none.
        valid: bool ``[B or 1, N]``; False keys are padding and never read; None is all.
        impl: ``"triton"`` needs a CUDA device; ``"gather"`` plans as the definition does and is fast on CPUs, the
            ``"auto"`` choice there; an explicit choice never falls back.

    Returns:
        ``[B, H, N, D]`` in the dtype of ``q``, and int32 ``[B, H, blocks]``: the number of blocks that each query block
        reads exactly.

    Raises:
        ValueError: a shape or choice above is not respected.
    """
    if q.ndim != 4 or not q.shape == k.shape == v.shape:
        raise ValueError(
            f"threshold_attention is self-attention and takes q, k and v of one shape [B, H, N, D], got "
            f"{list(q.shape)}, {list(k.shape)} and {list(v.shape)}"
        )
    blocks = -(-q.shape[2] // block)
    sinks = torch.zeros(blocks, dtype=torch.bool) if sinks is None else sinks
    if sinks.shape != (blocks,):
        raise ValueError(f"sinks must have one flag for each of {blocks} blocks, got {list(sinks.shape)}")
    sinks, scale = sinks.to(q.device), q.shape[-1] ** -0.5 if scale is None else float(scale)
    if kernel := kernel_of("threshold", impl, q, block, others=("gather",)):
        attended: tuple[Tensor, Tensor] = kernel.forward(q, k, v, block, tau, scale, sinks, valid)
        return attended
    if impl == "reference":
        return reference.forward(q, k, v, block, tau, scale, sinks, valid)
    plan = threshold_plan(q, k, block=block, tau=tau, scale=scale, sinks=sinks, valid=valid)
    out = block_sparse(q, k, v, plan, scale=scale, valid=valid, tail=True, impl=impl)
    return out, plan.keep.sum(-1, dtype=torch.int32)
