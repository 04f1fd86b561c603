"""Calls that read more tokens than they have queries for: rules see a query for each key.

A stream of its own, such as the text of Cosmos 3, is read by the video without asking anything in the same call. Rules
and planners count one sequence of tokens, so its places get queries of zeros for them; dense attention leaves those
out, and so does the answer.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import pad

from genkit.attention.calls.call import Attend, Call
from genkit.attention.geometry.grid import VideoGrid


def attend_with_all_queries(attend: Attend, q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Return ``attend`` for the queries ``q`` [B, H, N - grid.keys_only, D] of a call with N keys, for those alone."""
    spare = call.grid.keys_only
    return attend(_padded(q, spare), k, v, call)[:, :, spare:] if spare else attend(q, k, v, call)


def attend_without_spare_queries(attend: Callable[[Tensor], Tensor], q: Tensor, call: Call) -> Tensor:
    """Return ``attend`` of the model's own queries among ``q`` [B, H, N, D], and zeros for the others."""
    spare = call.grid.keys_only
    return _padded(attend(q[:, :, spare:]), spare) if spare else attend(q)


def share_of_queries(share: Tensor, grid: VideoGrid) -> Tensor:
    """Return a share over the model's own queries, given that over all tokens, of which the others read everything."""
    spare = grid.keys_only
    return (share * grid.tokens - spare) / (grid.tokens - spare) if spare else share


def per_query_head(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values of each query head ``[B, H, N, D]``, where several heads share theirs."""
    each = q.shape[1] // k.shape[1]
    return (k, v) if each == 1 else (k.repeat_interleave(each, 1), v.repeat_interleave(each, 1))


def _padded(x: Tensor, spare: int) -> Tensor:
    """``x`` [B, H, N, D] with ``spare`` rows of zeros in front."""
    return pad(x, (0, 0, spare, 0))
