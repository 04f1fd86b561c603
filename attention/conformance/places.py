"""Where the tokens of the video are in each attention call: what moves with a frame, a row or a column of the latents.

Attention answers zeros in these forwards, so a token depends on its own latents alone: in every layer exactly those of
the last frame must move with it. Text, history and references on the wrong side, another order of the tokens and layers
of the wrong kind all show.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from genkit.attention.calls.call import Kind
from genkit.attention.conformance.finding import Finding, tokens_text
from genkit.attention.conformance.moving import Latents, Part
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.model.forward import unet_grid
from genkit.attention.replays.calls import SeenCall, moved

TOLERANCE = 1e-5
"""Largest difference of a row that did not move, as a share of the largest print: quantized models round together."""
Fact = Literal["layers", "volume", "frame_axis", "before"]


@dataclass(frozen=True)
class Evidence:
    """Attention calls of one forward, by the facts: their layers have a kind."""

    latents: Latents
    kinds: dict[str, Kind]
    """Kind of each module that a rule would act in."""
    plain: tuple[SeenCall, ...]
    moved: dict[Part, tuple[SeenCall, ...]]
    """The calls after the last frame, row or column of the latents was changed."""

    def rows(self, number: int, part: Part) -> tuple[Tensor, Tensor]:
        """Return which queries and which keys of a call move with a part, bool ``[N]`` each."""
        one, other = self.plain[number], self.moved[part][number]
        queries, keys = (moved(a, b, TOLERANCE).any(0) for a, b in ((one.q, other.q), (one.k, other.k)))
        return queries, keys

    def keys_only(self, kind: Kind) -> int:
        """Return how many keys in front of a layer's queries are of another stream."""
        latents = self.latents
        return latents.facts.keys_only(latents.model, latents.arguments) if kind == "joint" else 0

    def others_of(self, kind: Kind, found: int) -> set[int]:
        """Return the numbers of other tokens that queries of a kind may have beside the video's."""
        if kind == "joint":
            return {max(found, 0)}
        shared = [call.tokens[0] for call in self.plain if self.kinds.get(call.layer) in ("self", "joint")]
        return {self.latents.others} | {0, *(tokens - prod(self.latents.volume) for tokens in shared)} & (
            {found} if kind == "cross" else set()
        )


def places(seen: Evidence) -> Iterator[Finding]:
    """Yield what is wrong with the places of tokens, once a fact; nothing if they are as the facts say."""
    wrong: dict[Fact, str] = {}
    for number, call in enumerate(seen.plain):
        kind = seen.kinds.get(call.layer)
        if kind is not None and (found := _wrong(seen, number, call, kind)) is not None:
            fact, sentence = found
            wrong.setdefault(fact, f"{call.layer} ({kind}): {sentence}")
    yield from (Finding(fact=fact, ok=False, found=sentence) for fact, sentence in wrong.items())


def _wrong(seen: Evidence, number: int, call: SeenCall, kind: Kind) -> tuple[Fact, str] | None:
    if seen.latents.facts.folds:
        return _wrong_fold(seen, number, call, kind)
    if kind == "joint" and call.number < seen.latents.facts.text_calls:
        return None
    if found := _wrong_kind(seen, number, call, kind):
        return "layers", found
    others = call.tokens[0] - prod(seen.latents.volume)
    if others not in seen.others_of(kind, others):
        counted = f"{_volume_text(seen)} tokens of the video and {seen.latents.others} others"
        return "volume", f"it has {call.tokens[0]} queries, and the facts count {counted}"
    return _wrong_place(seen, number, kind, others)


def _wrong_kind(seen: Evidence, number: int, call: SeenCall, kind: Kind) -> str | None:
    """Return what is wrong with the kind of a layer: whether queries and keys are the video's."""
    queries, keys = seen.rows(number, "frame")
    if not queries.any():
        return "its queries are not the video, as none moves with a frame; name it in excluded"
    if kind == "cross":
        return "its keys are the video, as some move with a frame; it is self or joint" if keys.any() else None
    if not keys.any() or call.tokens[1] != call.tokens[0] + seen.keys_only(kind):
        return f"its {call.tokens[0]} queries read {call.tokens[1]} keys that are not the same tokens; it is cross"
    return None


def _wrong_place(seen: Evidence, number: int, kind: Kind, others: int) -> tuple[Fact, str] | None:
    """Return where a part of the video is, if it is not where the facts say."""
    before = seen.latents.before(others)
    for part in seen.moved:
        queries, keys = seen.rows(number, part)
        expected = torch.zeros_like(queries)
        expected[before : before + prod(seen.latents.volume)] = seen.latents.tokens(part)
        if torch.equal(queries, expected) and (kind == "cross" or torch.equal(keys[-len(expected) :], expected)):
            continue
        if seen.latents.facts.dense and int(queries.sum()) >= prod(seen.latents.volume):
            return None  # layers that stay as they are have mixed the tokens
        return _named(seen, part, queries, expected, others)
    return None


def _named(seen: Evidence, part: Part, queries: Tensor, expected: Tensor, others: int) -> tuple[Fact, str]:
    facts, sentence = seen.latents.facts, f"{tokens_text(queries)} move with the last {part} of the video"
    shift = int(queries.nonzero()[0]) - int(expected.nonzero()[0])
    if shift and torch.equal(queries.roll(-shift), expected):
        before = seen.latents.before(others)
        return "before", (
            f"{sentence}, so {before + shift} of the {others} other tokens are before it, and the facts say {before}"
        )
    if part == "frame":
        return "frame_axis", (
            f"{sentence}, taken along axis {1 if facts.frame_axis is None else facts.frame_axis} of the latents, and "
            f"the facts say {tokens_text(expected)}"
        )
    return "volume", (
        f"{sentence}, and with {_volume_text(seen)} tokens it is {tokens_text(expected)}; are rows and columns swapped?"
    )


def _wrong_fold(seen: Evidence, number: int, call: SeenCall, kind: Kind) -> tuple[Fact, str] | None:
    """Return what is wrong where attention along time and inside a frame are apart; convolutions mix the tokens."""
    _, keys = seen.rows(number, "frame")
    if kind == "cross":
        return ("layers", "its keys are the video; it is spatial or temporal") if keys.any() else None
    if not keys.any() and call.tokens[0] == call.tokens[1]:
        return "layers", "its keys are not the video, as none moves with a frame; it is cross"
    frames, rows, cols = seen.latents.volume
    q = torch.empty(call.batch, 1, call.tokens[0], 1, device="meta")
    try:
        grid = unet_grid(VideoGrid(frames=frames, rows=rows, cols=cols), kind, q, len(seen.latents.tensor))
    except RuntimeError as error:
        return "volume", str(error)
    if call.tokens != (grid.tokens, grid.tokens):
        return "layers", f"{call.tokens[0]} queries read {call.tokens[1]} keys, and {kind} are {grid.tokens} tokens"
    return None


def _volume_text(seen: Evidence) -> str:
    return " x ".join(map(str, seen.latents.volume))
