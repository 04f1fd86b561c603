"""Read from experiments what each attention module sees: the video, one axis of it, the text, or something else."""

import re
from dataclasses import dataclass
from math import prod

from genkit.attention.calls.call import Kind
from genkit.attention.facts.coordinates import Volume
from genkit.tracing.reading.experiments import Experiments
from genkit.tracing.reading.places import Places
from genkit.tracing.reading.volumes import levels

TEXT = re.compile(r"(^|_)(encoder_hidden_states|text|prompt|caption|context|pooled)")
NOT_TEXT = re.compile(r"image|audio|sound|video|vision")


@dataclass(frozen=True)
class Verdict:
    """What the modules of one name see."""

    kind: Kind | None
    """Kind of attention; None: no rule can act there."""
    reason: str = ""
    """Reason that no rule can act, as the end of a sentence."""
    video: bool = False
    """True if the video is among the keys or queries although no rule can act."""


def is_text(argument: str) -> bool:
    """Return True if the name of an argument says that it is text."""
    return bool(TEXT.search(argument)) and not NOT_TEXT.search(argument)


def verdicts(found: Experiments, volume: Volume, places: Places | None) -> dict[str, Verdict]:
    """Return the verdict on each module that called attention, by name.

    Args:
        found: the experiments.
        volume: frames, rows and columns of tokens.
        places: the video in the sequence of the calls that see all of it; None: attention along time and inside frames
            is apart.
    """
    seen: dict[str, list[Verdict]] = {}
    for number, call in enumerate(found.calls):
        seen.setdefault(call.layer, []).append(_judge(found, volume, places, number))
    return {layer: _together(judged) for layer, judged in seen.items()}


def _together(seen: list[Verdict]) -> Verdict:
    """Return the verdict on a module that makes several calls: that of the first call with a kind."""
    return next((one for one in seen if one.kind is not None), seen[0])


def _judge(found: Experiments, volume: Volume, places: Places | None, number: int) -> Verdict:
    """Judge a call by its shape, and by which of its rows move."""
    call, batch = found.calls[number], found.given.shape[0]
    of_video = bool(found.moved_q(number, found.noise).any())
    keys_of_video = bool(found.moved_k(number, found.noise).any())
    if not of_video:
        return Verdict(None, _unseen(found, number, keys_of_video), keys_of_video)
    if call.batch in (1, batch) and places is not None:
        return _whole(found, places, number, keys_of_video)
    return _folded(found, volume, number, keys_of_video, places is None)


def _unseen(found: Experiments, number: int, keys_of_video: bool) -> str:
    causes = found.causes(number, found.moved_q)
    if keys_of_video:
        return f"its queries are {_named(causes)}"
    if causes and all(map(is_text, causes)):
        return "it sees text alone"
    return f"it does not see the video, but {_named(causes)}"


def _named(causes: list[str]) -> str:
    return " and ".join(causes) if causes else "other tokens"


def _whole(found: Experiments, places: Places, number: int, keys_of_video: bool) -> Verdict:
    """Judge a call whose sequence has all frames."""
    queries, keys = found.calls[number].tokens
    if queries == keys == places.tokens and places.square and keys_of_video:
        return Verdict("self" if places.tokens == places.video else "joint")
    if queries == places.video and not keys_of_video:
        return _cross(found, number)
    if places.square and queries != places.tokens and not keys_of_video and queries < places.tokens:
        return _cross(found, number)
    return Verdict(None, f"it has {queries} queries and {keys} keys, and the video {places.video} tokens", True)


def _cross(found: Experiments, number: int) -> Verdict:
    causes = found.causes(number, found.moved_k)
    if any(map(is_text, causes)) and not any(NOT_TEXT.search(cause) for cause in causes):
        return Verdict("cross")
    return Verdict(None, f"its keys are {_named(causes)}")


def _folded(found: Experiments, volume: Volume, number: int, keys_of_video: bool, only: bool) -> Verdict:
    """Judge a call with one axis of the video in its batch."""
    call, batch, frames = found.calls[number], found.given.shape[0], volume[0]
    queries, keys = call.tokens
    sizes = [rows * cols for rows, cols in (levels(volume) if only else [volume[1:]])]
    inside = any(call.batch == batch * frames and queries == size for size in sizes)
    along = any(call.batch == batch * size and queries == frames for size in sizes)
    foreign = not keys_of_video or queries != keys
    if only and inside and foreign:
        return _cross(found, number)
    if only and along and not foreign:
        return Verdict("temporal")
    if only and inside:
        return Verdict("spatial")
    if inside or call.batch == batch * frames:
        return Verdict(None, f"each frame reads {_named(found.causes(number, found.moved_k))} alone", not foreign)
    if foreign:
        return Verdict(None, f"its keys are {_named(found.causes(number, found.moved_k))}")
    return Verdict(None, f"{call.batch} sequences of {queries} are not the video's {prod(volume)} tokens", True)
