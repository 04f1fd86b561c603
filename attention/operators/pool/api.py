"""Means of blocks of tokens, and similarity of the tokens in a block.

Shape letters as in ``genkit.attention.operators.block_sparse``; ``Xb`` blocks of ``N`` tokens.
"""

from typing import Literal

from torch import Tensor

from genkit.attention.geometry.blocks import without_padding
from genkit.attention.operators.choice import kernel_of
from genkit.attention.operators.pool import reference

PoolImpl = Literal["auto", "triton", "reference"]


def pool(x: Tensor, block: int, *, valid: Tensor | None = None, impl: PoolImpl = "auto") -> tuple[Tensor, Tensor]:
    """Compute mean and self-similarity of every block of ``block`` tokens; the last block may be shorter.

    Self-similarity is the mean cosine of all pairs of tokens in a block, a token with itself included; it is 1 if all
    point in the same direction. Source: "SpargeAttn", arXiv 2502.18137, section 3.2.

    Args:
        x: ``[B, H, N, D]``, any strides.
        block: tokens of a block.
        valid: bool ``[B or 1, N]``; False tokens are padding and do not count; None is all.
        impl: ``"triton"`` needs a CUDA device; an explicit choice never falls back.

    Returns:
        Means float32 ``[B, H, Xb, D]`` and similarities float32 ``[B, H, Xb]`` in [0, 1]; a block without a valid token
        gives 0 and 1. Float64 for float64.

    Raises:
        ValueError: a shape or choice above is not respected.
    """
    if x.ndim != 4 or block < 1:
        raise ValueError(f"pool takes [B, H, N, D] and a block of at least 1 token, got {list(x.shape)} and {block}")
    if valid is not None and valid.shape not in ((1, x.shape[2]), (x.shape[0], x.shape[2])):
        raise ValueError(f"valid must be [{x.shape[0]} or 1, {x.shape[2]}], got {list(valid.shape)}")
    if kernel := kernel_of("pool", impl, x):
        pooled: tuple[Tensor, Tensor] = kernel.forward(x, block, valid)
        return pooled
    return reference.forward(x if valid is None else without_padding(x, valid), block, valid)
