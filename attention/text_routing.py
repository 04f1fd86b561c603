"""Each latent frame reads the words of its own event: per-frame bias on the text keys of cross-attention.

Source: the plateau-and-tail form of Prompt Relay, arXiv 2604.10030, with two corrections: the plateau covers the whole
event, and the cost of a frame's nearest event is subtracted, so that no frame is left without words. The text of all
events stands one after the other in the keys, each with its own padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from genkit.attention.call import Attend, Call, Kind
from genkit.attention.grid import VideoGrid

FADED = 1e-3  # weight of an event at the far end of its tail
LARGEST_COST = 60.0


def event_costs(grid: VideoGrid, spans: Sequence[tuple[float, float]], tail: float) -> Tensor:
    """What reading each event costs each latent frame: ``[frames, events]`` float32, 0 on an event's plateau.

    ``spans`` are begin and end of the events in seconds. A frame is where its middle is; outside a span the cost grows
    with the square of the distance and reaches ``ln(1000)`` at ``tail`` seconds; ``tail=0`` cuts hard.
    """
    middles = torch.tensor([sum(grid.seconds(grid.start + f)) / 2 for f in range(grid.frames)])
    begins, ends = torch.tensor(spans).T
    away = torch.maximum(begins - middles[:, None], middles[:, None] - ends).clamp_min(0)
    if tail > 0:
        costs = log(1 / FADED) * (away / tail) ** 2
    else:
        costs = torch.where(away > 0, LARGEST_COST, 0.0) * (1 + away)
    return (costs - costs.min(dim=1, keepdim=True).values).clamp_max(LARGEST_COST)


@dataclass(frozen=True, kw_only=True)
class TextRoutingRule:
    """Route text keys in cross-attention.

    ``run.state["timeline"]``, put there when the text was encoded, gives the events' spans for a length in seconds.
    """

    tail: float
    """Seconds over which a neighbouring event fades."""
    name: str = "timeline"
    order: str = "logits"
    kinds: frozenset[Kind] = frozenset({"cross"})

    def wrap(self, attend: Attend) -> Attend:
        """Leave calls with one event, or with the plain negative prompt, exactly as they are."""

        def routed(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            spans_for = call.run.state.get("timeline")
            if spans_for is None or call.step.branches == ("uncond",):
                return attend(q, k, v, call)
            spans = spans_for(call.grid.pixel_frames / call.grid.fps)
            if len(spans) == 1:
                return attend(q, k, v, call)
            call.run.ran("text routing")
            costs = event_costs(call.grid, spans, self.tail).to(q.device)
            return _grouped(q, k, v, call, -costs.repeat_interleave(k.shape[2] // len(spans), dim=1))

        return routed


def _grouped(q: Tensor, k: Tensor, v: Tensor, call: Call, bias: Tensor) -> Tensor:
    """One call a group of equal frames, ``bias`` ``[frames, keys]``; no queries-by-keys table is made."""
    distinct, group = bias.unique(dim=0, return_inverse=True)
    if call.grid.fold == "time":
        rows = group.repeat(q.shape[0] // call.grid.frames)
        mask = _added(call.mask, distinct[rows][:, None, None].to(q.dtype))
        return _sdpa(q, k, v, mask, call)
    out = torch.empty_like(q)
    tokens = group[call.grid.frame_of_token(q.device)]
    for number, row in enumerate(distinct):
        mine = (tokens == number).nonzero().flatten()
        out[:, :, mine] = _sdpa(q[:, :, mine], k, v, _added(call.mask, row.to(q.dtype)[None, None, None]), call)
    return out


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, call: Call) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=call.scale)


def _added(mask: Tensor | None, bias: Tensor) -> Tensor:
    if mask is None:
        return bias
    if mask.dtype == torch.bool:
        return bias.masked_fill(~mask, float("-inf"))
    return mask + bias
