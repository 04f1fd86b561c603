"""Attention with the changes of logits between frames that rules have put into a call."""

from torch import Tensor

from genkit.attention.calls.call import Call
from genkit.attention.calls.keys_only import per_query_head
from genkit.attention.calls.padding import padding, rows_and_columns
from genkit.attention.operators.frame_table import FrameTable, frame_table

WITHOUT = "leave out the plug-in that changes them"


def tabled(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Attend with ``call.logits`` and ``call.visible``; ``[B, H, N, D]``.

    Raises:
        ValueError: the call is not over all frames, or has a mask or arguments that a table cannot express.
    """
    if asked := [name for name, value in call.options.items() if name not in ("backend", "enable_gqa") and value]:
        raise ValueError(f"{call.layer} sets {', '.join(asked)}, so its logits cannot change by frame; {WITHOUT}")
    table, valid = _table(q, call), _valid(k, call)
    return frame_table(q, *per_query_head(q, k, v), table, scale=call.scale, valid=valid)


def _table(q: Tensor, call: Call) -> FrameTable:
    """The table of a call; the same for all calls with these frames, so that its tiles are made once a run."""
    grid, logits, visible = call.grid, call.logits, call.visible
    assert logits is not None
    if grid.fold == "time" or q.shape[2] != grid.tokens:
        raise ValueError(
            f"{call.layer} has {q.shape[2]} queries where all frames have {grid.tokens} tokens, so its logits cannot "
            f"change by frame; {WITHOUT}"
        )
    key = ("frame table", grid, logits, visible, q.device)
    return call.run.memory.table(key, lambda: logits.table(grid, visible, q.device))


def _valid(k: Tensor, call: Call) -> Tensor | None:
    """The keys that exist, bool ``[B, N]``; None is all."""
    if call.mask is None:
        return None
    valid = padding(call.mask, k.shape[2])
    valid = rows_and_columns(call.mask, k.shape[2]) if valid is None else valid
    if valid is None:
        raise ValueError(
            f"{call.layer} has a mask {list(call.mask.shape)} {call.mask.dtype} that is not padding, so its logits "
            f"cannot change by frame; {WITHOUT}"
        )
    return valid
