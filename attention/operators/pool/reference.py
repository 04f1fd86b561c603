"""The definition of pooled blocks."""

import torch
from torch import Tensor

from genkit.attention.geometry.blocks import in_blocks


def forward(x: Tensor, block: int, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return means ``[B, H, Xb, D]`` and self-similarities ``[B, H, Xb]``; see ``pool``."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    ones = torch.ones(1, x.shape[2], dtype=torch.bool, device=x.device) if valid is None else valid
    counted = ones[:, None].to(wide.dtype)
    weights = torch.stack([counted.expand(wide.shape[:3]), counted / wide.norm(dim=-1).clamp_min(1e-12)], 3)
    # Both sums of a block, of its tokens and of their directions, are one product; no tensor as large as x is made.
    sums = in_blocks(weights, block).mT @ in_blocks(wide, block)
    count = in_blocks(counted[..., None], block).sum(3)
    mean, unit = (sums / count.clamp_min(1)[..., None]).unbind(3)
    # The mean over pairs of x.y is the squared length of the mean of x.
    return mean, unit.square().sum(-1).where((count > 0)[..., 0], 1.0)
