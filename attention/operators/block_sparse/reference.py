"""The definition of block-sparse attention: masked logits, their log-sum-exp, weights and a sum.

Queries are processed in groups, so that the mask never exceeds ``PAIRS_AT_ONCE`` entries a head; nothing else is for
speed.
"""

import torch
from torch import Tensor

from genkit.attention.operators.block_sparse.read_mask import ReadMask

PAIRS_AT_ONCE = 1 << 24
"""Query-key pairs of one head that are masked at a time: 16 MB of mask."""


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Compute attention with ``bias`` [.., Nq, Nk] on the logits, and its log-sum-exp; a row of -inf gives 0."""
    logits = q @ k.mT * scale + bias
    lse = logits.logsumexp(-1)
    weights = (logits - lse.masked_fill(lse == float("-inf"), 0)[..., None]).exp()
    return weights @ v, lse


def forward(
    q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float, with_tail: bool
) -> tuple[Tensor, Tensor]:
    """Return the output ``[B, H, Nq, D]`` and log-sum-exp ``[B, H, Nq]``, in float32, float64 for float64.

    With a tail, a block that is left out counts as its number of keys, all at their mean.
    Source: "Sol-Attn", arXiv 2607.24027: ``exp(q . mean k) sum v``, which is exact where the keys of a block are equal.
    """
    keys, values = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (k, v))
    tail = read_mask.tail(k, v) if with_tail else None
    if tail is not None:
        keys, values = torch.cat([keys, tail.keys], 2), torch.cat([values, tail.values], 2)
    parts = []
    for rows in torch.arange(q.shape[2], device=q.device).split(max(1, PAIRS_AT_ONCE // k.shape[2])):
        bias = read_mask.rows(rows).to(keys.dtype).log()
        if tail is not None:
            left_out = ~read_mask.plan.keep[:, :, rows // read_mask.plan.block]
            bias = torch.cat([bias, (left_out * tail.count[:, None, None]).log()], -1)
        parts.append(attention(q[:, :, rows].to(keys.dtype), keys, values, bias, scale))
    return torch.cat([out for out, _ in parts], 2).to(q.dtype), torch.cat([lse for _, lse in parts], 2)
