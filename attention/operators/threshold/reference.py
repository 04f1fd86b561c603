"""The definition of threshold attention: scores of block means, exact blocks, and the others by their means."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def forward(
    q: Tensor, k: Tensor, v: Tensor, block: int, tau: float, scale: float, sinks: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the output ``[B, H, N, D]`` and the number of exact blocks int32 ``[B, H, blocks]``.

    Computed in float32, in float64 for float64, one query block after the other; see ``threshold_attention``.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    every = torch.ones(1, q.shape[2], dtype=torch.bool, device=q.device)
    exists = every if valid is None else valid.to(q.device)
    padding = ~exists[:, None, :, None]
    queries, keys, values = q.to(wide), k.to(wide).masked_fill(padding, 0), v.to(wide).masked_fill(padding, 0)
    (mean_queries, _), (mean_keys, count), (mean_values, _) = (
        means(x, weight, block) for x, weight in ((queries, every), (keys, exists), (values, exists))
    )
    keep = exact_blocks(mean_queries, mean_keys, count, tau, scale, sinks)
    tokens = keep.repeat_interleave(block, -1)[..., : q.shape[2]] & exists[:, None, None]
    parts = []
    for row, part in enumerate(queries.split(block, 2)):
        exact = (part @ keys.mT * scale).masked_fill(~tokens[:, :, row, None], float("-inf"))
        tail = (part @ mean_keys.mT * scale + count.mT.log()).masked_fill(keep[:, :, row, None], float("-inf"))
        parts.append(attend(torch.cat([exact, tail], -1), torch.cat([values, mean_values], 2)))
    return torch.cat(parts, 2).to(q.dtype), keep.sum(-1, dtype=torch.int32)


def means(x: Tensor, weight: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Return means ``[B, H, blocks, D]`` of the tokens where ``weight`` [.., N] is True, and counts [.., blocks, 1]."""
    spare = -x.shape[2] % block
    weights = weight[:, None, :, None].to(x.dtype)
    total, count = (pad(y, (0, 0, 0, spare)).unflatten(2, (-1, block)).sum(3) for y in (x * weights, weights))
    return total / count.clamp_min(1), count


def exact_blocks(
    mean_queries: Tensor, mean_keys: Tensor, count: Tensor, tau: float, scale: float, sinks: Tensor
) -> Tensor:
    """Return which key blocks each query block reads exactly, bool ``[B, H, blocks, blocks]``.

    The score ``scale c.m`` of two block means has, over the key blocks with keys, the mean ``scale c.mu`` and about the
    variance ``scale^2 sum_d c_d^2 var_d``: a block is exact if its score exceeds the mean by ``tau`` deviations, or if
    it is a neighbour or a sink.
    """
    weight = (count > 0).to(mean_keys.dtype)
    blocks = weight.sum(2, keepdim=True).clamp_min(1)
    mu = (mean_keys * weight).sum(2, keepdim=True) / blocks
    var = ((mean_keys - mu).square() * weight).sum(2, keepdim=True) / blocks
    deviation = (scale**2 * (mean_queries.square() * var).sum(-1, keepdim=True) + 1e-6).sqrt()
    keep = scale * mean_queries @ mean_keys.mT > scale * mean_queries @ mu.mT + tau * deviation
    index = torch.arange(len(sinks), device=keep.device)
    return keep | ((index[:, None] - index).abs() <= 1) | sinks[:, None] | sinks


def attend(logits: Tensor, values: Tensor) -> Tensor:
    """Return softmax attention; a row with only -inf gives 0."""
    nothing = (logits == float("-inf")).all(-1, keepdim=True)
    return logits.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0) @ values
