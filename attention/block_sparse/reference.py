"""The definition of block-sparse attention, and the masked SDPA that equals it where only the output is asked for.

``attention`` is the definition. ``forward`` runs it for a log-sum-exp and for float64; everything else goes through
PyTorch's ``scaled_dot_product_attention`` with the same boolean mask, which is the simplest thing that is fast enough:
on a CPU it takes a third to two thirds of the definition's time and 1 to 1.5 times that of dense attention. Visiting
only the kept blocks from Python saves little more (0.8 to 1.2 of dense at 30 % density, 528 to 4,096 tokens) and works
for tables shared by all heads only. Queries go in groups, so the mask never exceeds ``PAIRS_AT_ONCE`` entries a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.block_sparse.seen import Seen

PAIRS_AT_ONCE = 1 << 24
"""Query-key pairs of one head that are masked at a time: 16 MB of mask."""


def attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention over the keys that ``seen`` [.., Nq, Nk] allows, in float32 at least, and its log-sum-exp."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    logits = (q.to(wide) @ k.to(wide).transpose(-1, -2) * scale).masked_fill(~seen, float("-inf"))
    lse = logits.logsumexp(-1)
    weights = (logits - lse.masked_fill(lse == float("-inf"), 0)[..., None]).exp()
    return (weights @ v.to(wide)).to(q.dtype), lse


def with_tail(q: Tensor, k: Tensor, v: Tensor, seen: Seen, scale: float) -> tuple[Tensor, Tensor]:
    """The definition with a tail: blocks that are left out count as their number of keys, all at their mean.

    Source: "Sol-Attn", arXiv 2607.24027: ``exp(q . mean k) sum v``, which is exact where the keys of a block are equal.
    """
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    tail = seen.tail(k, v)
    parts = []
    for rows in torch.arange(q.shape[2], device=q.device).split(max(1, PAIRS_AT_ONCE // k.shape[2])):
        mask = seen.rows(rows)
        far = ~seen.plan.keep[:, :, rows // seen.plan.block] & (tail.count > 0)[:, None, None]
        near = (q[:, :, rows].to(wide) @ k.to(wide).mT * scale).masked_fill(~mask, float("-inf"))
        mean = q[:, :, rows].to(wide) @ tail.keys.mT * scale + tail.count[:, None, None].log()
        logits = torch.cat([near, mean.masked_fill(~far, float("-inf"))], -1)
        lse = logits.logsumexp(-1)
        weights = (logits - lse.masked_fill(lse == float("-inf"), 0)[..., None]).exp()
        parts.append(((weights @ torch.cat([v.to(wide), tail.values], 2)).to(q.dtype), lse))
    return torch.cat([out for out, _ in parts], 2), torch.cat([lse for _, lse in parts], 2)


def forward(q: Tensor, k: Tensor, v: Tensor, seen: Seen, scale: float, with_lse: bool) -> tuple[Tensor, Tensor | None]:
    """Output ``[B, H, Nq, D]`` and log-sum-exp ``[B, H, Nq]``, or None where none is asked for."""
    if seen.all and not with_lse and q.dtype != torch.float64:
        return F.scaled_dot_product_attention(q, k, v, scale=scale), None
    parts = []
    for rows in torch.arange(q.shape[2], device=q.device).split(max(1, PAIRS_AT_ONCE // k.shape[2])):
        mask = seen.rows(rows)
        if with_lse or q.dtype == torch.float64:
            parts.append(attention(q[:, :, rows], k, v, mask, scale))
        else:
            out = F.scaled_dot_product_attention(q[:, :, rows], k, v, attn_mask=mask, scale=scale)
            # Not every backend gives 0 where nothing is seen.
            parts.append((out.masked_fill(~mask.any(-1, keepdim=True), 0), out))
    lse = torch.cat([lse for _, lse in parts], dim=2) if with_lse else None
    return torch.cat([out for out, _ in parts], dim=2), lse
