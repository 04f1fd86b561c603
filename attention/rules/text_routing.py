"""Each latent frame reads the text of its own event: per-frame bias on the text keys of cross-attention.

Source: the plateau-and-tail form of Prompt Relay, arXiv 2604.10030, with two corrections: the plateau covers the whole
event, and the cost of a frame's nearest event is subtracted, so that every frame reads some text. The keys are the
concatenated texts of all events, each with its own padding.
"""

from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Order, Rule
from genkit.attention.calls.dense import equal_rows, mask_rows, sdpa
from genkit.attention.calls.events import Spans
from genkit.attention.geometry.grid import VideoGrid

FADED = 1e-3  # weight of an event at the far end of its tail
LARGEST_COST = 60.0


def event_costs(grid: VideoGrid, spans: Spans, tail: float) -> Tensor:
    """Return the cost of each event for each latent frame, float32 ``[frames, events]``; 0 on an event's plateau.

    A frame is at its middle. Outside a span the cost grows with the square of the distance and reaches ``ln(1000)`` at
    ``tail`` seconds. With ``tail=0`` each frame reads its nearest event, the later one of a tie, and the others cost
    infinity.
    """
    away = _away(grid, spans)
    if tail == 0:
        others = torch.arange(len(spans)) != _nearest(away)[:, None]
        return torch.zeros(away.shape).masked_fill(others, inf)
    costs = log(1 / FADED) * (away / tail) ** 2
    return (costs - costs.min(dim=1, keepdim=True).values).clamp_max(LARGEST_COST).float()


def check_events(grid: VideoGrid, spans: Spans) -> None:
    """Check that every event is the nearest one of at least one latent frame of the whole video.

    Raises:
        ValueError: an event is not; the message has its number, its seconds and the min seconds for this model.
    """
    shown = set(_nearest(_away(grid, spans)).tolist())
    for number, (begin, end) in enumerate(spans):
        if number not in shown:
            raise ValueError(
                f"event {number + 1} lasts {end - begin:g} s, from {begin:g} s to {end:g} s, and falls between two "
                f"latent frames; this model needs at least {grid.stride / grid.fps:g} s for an event, so give it more "
                "time or make the video longer"
            )


def _away(grid: VideoGrid, spans: Spans) -> Tensor:
    """Seconds between the middle of each frame and each event, float64 ``[frames, events]``; 0 inside an event."""
    middles = [sum(grid.seconds(grid.start + frame)) / 2 for frame in range(grid.frames)]
    middle = torch.tensor(middles, dtype=torch.float64)[:, None]
    begins, ends = torch.tensor(spans, dtype=torch.float64).T
    return torch.maximum(begins - middle, middle - ends).clamp_min(0)


def _nearest(away: Tensor) -> Tensor:
    """The nearest event of each frame ``[frames]``, the later one of a tie: an event excludes its end."""
    return away.shape[1] - 1 - away.flip(1).argmin(dim=1)


@dataclass(frozen=True, kw_only=True)
class TextRoutingRule(Rule):
    """Routing of text keys in cross-attention, by ``run.events``, which are set when the text is encoded."""

    tail: float
    """Seconds over which a neighbouring event fades; 0 is a hard cut."""
    name: str = "timeline"
    order: Order = "logits"
    kinds: frozenset[Kind] = frozenset({"cross"})

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` with routed text; calls with one event or only the negative prompt do not change."""

        def routed(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            events = call.run.events
            if events is None or call.step.branches == ("uncond",):
                return attend(q, k, v, call)
            spans = events.spans(call.whole)
            if len(spans) == 1:
                return attend(q, k, v, call)
            each = _keys_of_each(call, k.shape[2], len(spans))
            call.run.count_backend("text routing")
            return _grouped(q, k, v, call, -self._costs(call, spans).repeat_interleave(each, dim=1))

        return routed

    def _costs(self, call: Call, spans: Spans) -> Tensor:
        """Costs of the frames of this call, ``[frames, events]``; computed once per run, for the whole video."""

        def make() -> Tensor:
            check_events(whole, spans)
            return event_costs(whole, spans, self.tail)

        grid, whole = call.grid, call.whole
        key = (self.name, self.tail, whole.frames, whole.stride, whole.first_pixels, whole.fps)
        costs = call.run.memory.table(key, make)
        return costs[grid.start : grid.start + grid.frames]


def _keys_of_each(call: Call, keys: int, events: int) -> int:
    if keys % events:
        raise ValueError(
            f"{call.layer} has {keys} text keys, not the same number for each of {events} events; does the model add "
            "keys of its own?"
        )
    return keys // events


def _grouped(q: Tensor, k: Tensor, v: Tensor, call: Call, bias: Tensor) -> Tensor:
    """One call for each run of frames with equal ``bias`` [frames, keys], without a table of queries by keys."""
    if call.grid.fold == "time":
        rows = bias.to(q).repeat(q.shape[0] // call.grid.frames, 1)[:, None, None]
        return sdpa(q, k, v, call, _added(call.mask, rows))
    out, first = torch.empty_like(q), _first_token(call, q.shape[2])
    size = call.grid.tokens_per_frame
    for begin, end in equal_rows(bias):
        mine = slice(max(0, begin * size - first), min(max(0, end * size - first), q.shape[2]))
        if mine.start >= mine.stop:
            continue
        mask = _added(mask_rows(call.mask, mine), bias[begin].to(q))
        out[:, :, mine] = sdpa(q[:, :, mine], k, v, call, mask)
    return out


def _first_token(call: Call, queries: int) -> int:
    """Index of the first query among the tokens of the video, which devices may share."""
    whole = call.grid.video_tokens
    tokens = range(whole) if call.devices is None else call.devices.tokens_here(whole)
    if queries != len(tokens):
        raise ValueError(
            f"{call.layer} has {queries} queries, but {len(tokens)} of the {whole} tokens of the video were expected, "
            "so their frames are unknown; does other code split the sequence?"
        )
    return tokens.start


def _added(mask: Tensor | None, bias: Tensor) -> Tensor:
    """Additive mask of ``bias`` and the model's own mask."""
    bias = bias.expand(1, 1, 1, -1) if bias.ndim == 1 else bias
    if mask is None:
        return bias
    if mask.dtype == torch.bool:
        return bias.masked_fill(~mask, -inf)
    return mask + bias
