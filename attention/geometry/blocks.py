"""Tokens cut into blocks."""

from torch import Tensor
from torch.nn.functional import pad


def in_blocks(x: Tensor, block: int) -> Tensor:
    """Return ``[B, H, blocks, block, D]`` from ``[B, H, N, D]``; a shorter last block is padded with zeros.

    A view if no block is shorter.
    """
    spare = -x.shape[2] % block
    return (pad(x, (0, 0, 0, spare)) if spare else x).unflatten(2, (-1, block))


def count_in_blocks(x: Tensor, block: int) -> Tensor:
    """Return the number of True in each block: int64 ``[.., blocks]`` from bool ``[.., N]``."""
    return pad(x, (0, -x.shape[-1] % block)).unflatten(-1, (-1, block)).sum(-1)


def without_padding(x: Tensor, valid: Tensor) -> Tensor:
    """Return ``x`` [B, H, N, D] with zeros where ``valid`` [B or 1, N] is False, even for NaN (NaN times 0 is NaN)."""
    return x.masked_fill(~valid.to(x.device)[:, None, :, None], 0)
