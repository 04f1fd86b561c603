"""Padding among the tokens of a call: which masks mean it, and calls without the padding behind all other tokens."""

from dataclasses import replace

import torch
from torch import Tensor

from genkit.attention.calls.call import Call


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


def without_padding_behind(call: Call, tokens: int) -> tuple[Call, int]:
    """Return the call with a key padding mask, and how many of its ``tokens`` come before padding of all videos only.

    The model reads nothing of padding that its mask hides as query and as key, so those behind the last valid token
    need not be computed. Calls with other masks are returned as they are, with all tokens.
    """
    valid = None if call.mask is None else rows_and_columns(call.mask, tokens)
    if valid is None:
        return call, tokens
    used = valid.any(0).nonzero()
    end = max(int(used.max()) + 1 if len(used) else 0, call.grid.before + call.grid.video_tokens)
    kept = valid[:, :end]
    return replace(call, mask=None if bool(kept.all()) else kept[:, None, None]), end
