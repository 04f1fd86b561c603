"""Calls without the padding behind all other tokens."""

from dataclasses import replace

from genkit.attention.calls.call import Call
from genkit.attention.calls.padding import rows_and_columns


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
