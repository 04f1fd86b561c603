"""Tokens cut into blocks."""

from torch import Tensor
from torch.nn.functional import pad


def in_blocks(x: Tensor, block: int) -> Tensor:
    """``[B, H, blocks, block, D]`` of ``[B, H, N, D]``; a last, shorter block is filled up with zeros.

    A view where no block is shorter.
    """
    spare = -x.shape[2] % block
    return (pad(x, (0, 0, 0, spare)) if spare else x).unflatten(2, (-1, block))


def count_in_blocks(x: Tensor, block: int) -> Tensor:
    """How many are True in each block: int64 ``[.., blocks]`` of bool ``[.., N]``."""
    return pad(x, (0, -x.shape[-1] % block)).unflatten(-1, (-1, block)).sum(-1)


def without_padding(x: Tensor, valid: Tensor) -> Tensor:
    """``x`` [B, H, N, D] with zeros where ``valid`` [B or 1, N] is False, whatever stood there: NaN times 0 is NaN."""
    return x.masked_fill(~valid.to(x.device)[:, None, :, None], 0)
