"""The innermost attention: dense, over the key frames that ``call.visible`` allows, or with ``call.logits``."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.calls.call import Call
from genkit.attention.calls.keys_only import attend_without_spare_queries
from genkit.attention.calls.tabled import tabled
from genkit.attention.private import BACKEND_NAMES, DISPATCH


def dense(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Attend with the arguments that the model passed, on the user's backend; ``[B, H, N, D]``."""
    assert call.positions is None, "the rule that cuts windows adds the positions of each"
    backend = call.options.get("backend")
    how = "frame table" if call.logits is not None else "windowed" if call.visible is not None else backend
    if not call.counted:
        call.run.count_backend(f"dense ({how})" if how else "dense")
    if call.logits is not None:
        return tabled(q, k, v, call)
    if call.visible is not None:
        return _windowed(q, k, v, call)
    return attend_without_spare_queries(lambda queries: sdpa(queries, k, v, call, call.mask, backend), q, call)


def sdpa(q: Tensor, k: Tensor, v: Tensor, call: Call, mask: Tensor | None, backend: str | None = None) -> Tensor:
    """Compute attention for some queries and keys of a call under ``mask``, with the model's other arguments."""
    options: dict[str, Any] = {name: value for name, value in call.options.items() if name != "backend"}
    return untouched(q, k, v, options | {"attn_mask": mask, "scale": call.scale}, backend)


def untouched(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any], backend: str | None = None) -> Tensor:
    """Attend with exactly these arguments of ``scaled_dot_product_attention``, on a backend of diffusers if named."""
    if backend is None:
        return F.scaled_dot_product_attention(q, k, v, **options)
    named = options | {"backend": BACKEND_NAMES.load()(backend)}
    out: Tensor = DISPATCH.load()(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **named)
    return out.transpose(1, 2)


def _windowed(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    assert call.visible is not None
    grid = call.grid
    if grid.fold == "time":
        raise ValueError(
            f"{call.layer} reads one frame at a time, so frames cannot be hidden from it; leave visible at None"
        )
    if grid.fold == "space":
        return sdpa(q, k, v, call, both(call.mask, call.visible.to(q.device)))
    out = torch.empty_like(q)
    for side in grid.others:
        out[:, :, side] = sdpa(q[:, :, side], k, v, call, mask_rows(call.mask, side))
    for queries, keys in _groups(call.visible, grid.tokens_per_frame):
        rows = slice(grid.video.start + queries.start, grid.video.start + queries.stop)
        index = torch.cat([keys + grid.video.start, grid.index_of_others()]).to(q.device)
        mask = mask_rows(call.mask, rows)
        mask = mask[..., index] if mask is not None and mask.shape[-1] != 1 else mask
        out[:, :, rows] = sdpa(q[:, :, rows], k[:, :, index], v[:, :, index], call, mask)
    return out


def _groups(visible: Tensor, per_frame: int) -> Iterator[tuple[slice, Tensor]]:
    """Runs of query frames that read the same key frames, as token slices, each with the video tokens it reads."""
    table = visible.cpu()
    for begin, end in equal_rows(table):
        frames = table[begin].nonzero().flatten()
        keys = (frames[:, None] * per_frame + torch.arange(per_frame)).flatten()
        yield slice(begin * per_frame, end * per_frame), keys


def equal_rows(table: Tensor) -> Iterator[tuple[int, int]]:
    """Yield begin and end (exclusive) of each run of equal rows in a table on the CPU."""
    begin = 0
    for end in range(1, len(table) + 1):
        if end == len(table) or not torch.equal(table[end], table[begin]):
            yield begin, end
            begin = end


def mask_rows(mask: Tensor | None, rows: slice) -> Tensor | None:
    """Return the rows of a mask ``[.., queries or 1, keys]`` for some queries."""
    return mask if mask is None or mask.ndim < 2 or mask.shape[-2] == 1 else mask[..., rows, :]


def both(mask: Tensor | None, visible: Tensor) -> Tensor:
    """Combine two masks: a key must be visible in each; ``mask`` may be bool, additive or None."""
    if mask is None:
        return visible
    if mask.dtype == torch.bool:
        return mask & visible
    return mask.masked_fill(~visible, float("-inf"))
