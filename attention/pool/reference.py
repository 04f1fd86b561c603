"""The definition of pooled blocks."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad


def forward(x: Tensor, block: int, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means ``[B, H, Xb, D]`` and self-similarities ``[B, H, Xb]``; see ``pool``."""
    wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    counted = torch.ones(1, x.shape[2], dtype=torch.bool, device=x.device) if valid is None else valid
    weight = counted[:, None, :, None].to(wide.dtype)
    count = _sums(weight, block).clamp_min(1)
    mean = _sums(wide * weight, block) / count
    unit = _sums(normalize(wide, dim=-1, eps=1e-12) * weight, block) / count
    # The mean over pairs of x.y is the squared length of the mean of x.
    similarity = unit.square().sum(-1)
    return mean, similarity.where((_sums(weight, block) > 0)[..., 0], 1.0)


def _sums(x: Tensor, block: int) -> Tensor:
    """Sums over blocks ``[B, H, Xb, D]`` of ``[B, H, N, D]``."""
    return pad(x, (0, 0, 0, -x.shape[2] % block)).unflatten(2, (-1, block)).sum(3)
