"""The blocks that threshold attention reads exactly, as a plan."""

import torch
from torch import Tensor

from genkit.attention.geometry.blocks import count_in_blocks
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.pool import pool


def threshold_plan(
    q: Tensor, k: Tensor, *, block: int, tau: float, scale: float, sinks: Tensor, valid: Tensor | None = None
) -> BlockPlan:
    """Return the blocks that are read exactly; see ``threshold_attention``.

    The score of a query block and a key block is ``scale c.m``, of their means. Over the key blocks its mean is
    ``scale c.mu`` and its variance about ``scale^2 sum_d c_d^2 var_d``, with mean ``mu`` and variance ``var`` of the
    means of the key blocks: a block is exact when its score is more than ``tau`` deviations above the mean.
    """
    (c, _), (m, _) = pool(q, block, impl="reference"), pool(k, block, valid=valid, impl="reference")
    mu, var = spread_of(m, block, valid)
    score = scale * c @ m.mT
    level = scale * (c * mu[:, :, None]).sum(-1)
    spread = (scale**2 * (c.square() * var[:, :, None]).sum(-1) + 1e-6).sqrt()
    keep = score > (level + tau * spread)[..., None]
    rows, cols = (torch.arange(n, device=q.device) for n in keep.shape[2:])
    keep |= (rows[:, None] - cols).abs() <= 1
    keep |= sinks[: len(rows), None] | sinks[: len(cols)]
    return BlockPlan(keep, block, q.shape[2], k.shape[2])


def spread_of(means: Tensor, block: int, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance ``[B, H, D]`` of the means ``[B, H, Kb, D]`` of the key blocks that contain keys."""
    if valid is None:
        return means.mean(2), means.var(2, unbiased=False)
    weight = (count_in_blocks(valid, block) > 0)[:, None, :, None].to(means.dtype)
    blocks = weight.sum(2).clamp_min(1)
    mean = (means * weight).sum(2) / blocks
    return mean, ((means - mean[:, :, None]).square() * weight).sum(2) / blocks
