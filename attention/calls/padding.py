"""Which masks of a model mean padding."""

import torch
from torch import Tensor


def padding(mask: Tensor, keys: int) -> Tensor | None:
    """Return ``[B, keys]`` for a key padding mask, bool ``[B, 1, 1, keys]``; None for any other mask."""
    if mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1:] == (1, 1, keys):
        return mask[:, 0, 0]
    return None


def rows_and_columns(mask: Tensor, tokens: int) -> Tensor | None:
    """Return ``[B, tokens]`` for a mask that hides padding as query and as key; None for any other mask.

    Such a mask is bool ``[B, 1, tokens, tokens]`` and True where the tokens of row and column are both valid.
    """
    if mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1:] != (1, tokens, tokens):
        return None
    valid = mask[:, 0].diagonal(dim1=-2, dim2=-1)
    return valid if torch.equal(valid[:, :, None] & valid[:, None], mask[:, 0]) else None
