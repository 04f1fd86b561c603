"""Tokens cut into blocks."""

from torch import Tensor
from torch.nn.functional import pad


def in_blocks(x: Tensor, block: int) -> Tensor:
    """``[B, H, blocks, block, D]`` of ``[B, H, N, D]``; a last, shorter block is filled up with zeros.

    A view where no block is shorter.
    """
    spare = -x.shape[2] % block
    return (pad(x, (0, 0, 0, spare)) if spare else x).unflatten(2, (-1, block))
