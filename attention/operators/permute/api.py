"""Tokens in another order, and back."""

from typing import Literal

import torch
from torch import Tensor

from genkit.attention.operators.choice import kernel_of
from genkit.attention.operators.permute import reference

PermuteImpl = Literal["auto", "triton", "reference"]


def permute(x: Tensor, order: Tensor, *, impl: PermuteImpl = "auto") -> Tensor:
    """Put token ``order[.., i]`` at place ``i``.

    Args:
        x: ``[B, H, N, D]``, any strides.
        order: int64 ``[B or 1, H or 1, M]``, places in ``x``; each head may have its own order.
        impl: ``"triton"`` needs a CUDA device; an explicit choice never falls back.

    Returns:
        ``[B, H, M, D]``, contiguous.

    Raises:
        ValueError: a shape or choice above is not respected.
    """
    if x.ndim != 4 or order.ndim != 3 or any(n not in (1, m) for n, m in zip(order.shape[:2], x.shape, strict=False)):
        raise ValueError(
            f"permute takes x [B, H, N, D] and order [B or 1, H or 1, M], got {list(x.shape)} and {list(order.shape)}"
        )
    if kernel := kernel_of("permute", impl, x):
        ordered: Tensor = kernel.gather_tokens(x, order)
        return ordered
    return reference.forward(x, order)


def inverse(order: Tensor) -> Tensor:
    """Return the order that undoes ``order`` [.., N], which must contain every place once."""
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)
