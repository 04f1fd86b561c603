"""Share of the softmax in each pair of blocks: the exact reference for every planner."""

from typing import Literal

from torch import Tensor

from genkit.attention.operators.block_mass import reference
from genkit.attention.operators.choice import kernel_of

MassImpl = Literal["auto", "triton", "reference"]


def block_mass(
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    block: int,
    *,
    scale: float | None = None,
    valid: Tensor | None = None,
    impl: MassImpl = "auto",
) -> Tensor:
    """Compute the sum of ``exp(logit - lse)`` over every pair of blocks of queries and keys.

    With the log-sum-exp of dense attention these are shares of its softmax: the sum over key blocks is the number of
    queries in the block. With that of an earlier step they are approximate, which saves a pass.
    Source: "AdaSpa", arXiv 2502.21079, section 4.2.

    Args:
        q: ``[B, H, Nq, D]``.
        k: ``[B, H, Nk, D]``.
        lse: ``[B, H, Nq]``, natural log-sum-exp of the scaled logits; -inf where a query reads nothing.
        block: tokens of a block, the same for queries and keys.
        scale: factor on the logits; None is ``D ** -0.5``.
        valid: bool ``[B or 1, Nk]``; False keys are padding and count as 0; None is all.
        impl: ``"triton"`` needs a CUDA device; an explicit choice never falls back.

    Returns:
        float32 ``[B, H, query blocks, key blocks]``, float64 for float64.

    Raises:
        ValueError: a shape or choice above is not respected.
    """
    if q.ndim != 4 or k.shape[:2] != q.shape[:2] or k.shape[3] != q.shape[3] or lse.shape != q.shape[:3]:
        raise ValueError(
            f"block_mass takes q [B, H, Nq, D], k [B, H, Nk, D] and lse [B, H, Nq], got {list(q.shape)}, "
            f"{list(k.shape)} and {list(lse.shape)}"
        )
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if kernel := kernel_of("block_mass", impl, q, block):
        mass: Tensor = kernel.forward(q, k, lse, block, scale, valid)
        return mass
    return reference.forward(q, k, lse, block, scale, valid)


def recall(mass: Tensor, keep: Tensor) -> Tensor:
    """Return the share of the softmax in the blocks ``keep``, ``[B, H]``, from the exact mass ``[B, H, Qb, Kb]``."""
    return (mass * keep).sum((-2, -1)) / mass.sum((-2, -1))
