"""The definition of block mass."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def forward(q: Tensor, k: Tensor, lse: Tensor, block: int, scale: float, valid: Tensor | None) -> Tensor:
    """Return sums ``[B, H, Qb, Kb]``; see ``block_mass``. One block of queries at a time: ``N x N`` is never stored."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    keys, spare = k.to(wide).mT, -k.shape[2] % block
    rows = []
    for begin in range(0, q.shape[2], block):
        logits = q[:, :, begin : begin + block].to(wide) @ keys * scale
        if valid is not None:
            logits = logits.masked_fill(~valid[:, None, None], float("-inf"))
        known = lse[:, :, begin : begin + block, None].to(wide)
        weight = (logits - known).exp().masked_fill(known == float("-inf"), 0)
        rows.append(pad(weight.sum(2), (0, spare)).unflatten(2, (-1, block)).sum(3))
    return torch.stack(rows, 2)
