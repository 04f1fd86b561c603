"""The definition of permuted tokens."""

import torch
from torch import Tensor


def forward(x: Tensor, order: Tensor) -> Tensor:
    """Return ``[B, H, M, D]``, contiguous; see ``permute``."""
    return torch.gather(x, 2, order[..., None].expand(*x.shape[:2], -1, x.shape[3]))
