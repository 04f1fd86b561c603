"""Sizes, first latents and solver steps of a run."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod

from torch import Tensor

from genkit.attention.conformance.finding import Finding
from genkit.attention.facts.card import Card
from genkit.attention.model.forward import Forward
from genkit.attention.model.order.hoist import leaves
from genkit.attention.replays.replay import FirstForward
from genkit.recording.recording import Recording


def sizes(card: Card, recording: Recording, forwards: Sequence[Forward]) -> Iterator[Finding]:
    """Yield whether pixels per token are as the pipeline's attributes say, in the largest forward."""
    height, width = (recording.arguments.get(name) for name in ("height", "width"))
    if height is None or width is None:
        return
    _, rows, cols = max((forward.volume for forward in forwards), key=prod)
    down, right = card.size_steps(recording.pipe)
    ok = (height // down, width // right) == (rows, cols)
    found = f"{height} x {width} pixels are {rows} x {cols} tokens"
    said = "" if ok else f", and by {card.size_attribute} and the patch a token has {down} x {right} pixels"
    yield Finding(fact="size_attribute", ok=ok, found=found + said)


def lengths(card: Card, recording: Recording) -> Iterator[Finding]:
    """Yield how many token frames the video has that was asked for; it may be made in parts or windows."""
    asked, frames = recording.arguments.get("num_frames"), _video_frames(card, recording)
    if asked is None or recording.arguments.get("latents") is not None:
        return
    expected, drawn = card.token_frames(recording.pipe, asked), _drawn(recording)
    in_parts = len(recording.prepared) > 1 and frames < expected
    in_windows = drawn is not None and expected * _time_patch(card, recording) in drawn.shape[1:]
    ok = frames == expected or in_parts or in_windows
    found = f"{asked} pixel frames are {expected if ok else frames} token frames"
    said = f", {frames} of them in a forward" if ok and frames != expected else ""
    wrong = "" if ok else f" in a forward, and by {card.stride_attribute or 'no stride'} they are {expected}"
    yield Finding(fact="stride_attribute", ok=ok, found=found + said + wrong)


def noise(card: Card, recording: Recording) -> Iterator[Finding]:
    """Yield whether the first latents have their frames where a noise plan takes them from, if one may."""
    latents = _drawn(recording)
    if latents is None or card.given is not None:
        return
    axis = card.main.frame_axis if card.noise_axis is None else card.noise_axis
    frames = _video_frames(card, recording) * _time_patch(card, recording)
    if axis is None:
        ok, where = latents.ndim == 3 and latents.shape[1] % frames == 0, "packed in axis 1"
    else:
        ok, where = latents.ndim > axis and latents.shape[axis] in _legal(card, recording, frames), f"in axis {axis}"
    found = f"the first latents are {list(latents.shape)}, with {frames} frames"
    yield Finding(fact="noise_axis", ok=ok, found=f"{found} {where}" if ok else f"{found}, and not {where}")


def _legal(card: Card, recording: Recording, frames: int) -> set[int]:
    """Return the numbers of latent frames that may be drawn: with images in front, or without images behind."""
    component, first = first_of(card, recording)
    lead = card.models[component].lead(first.model, first.arguments)
    asked = recording.arguments.get("num_frames")
    without = set() if asked is None else {card.token_frames(recording.pipe, asked) * _time_patch(card, recording)}
    return {frames, frames + lead} | without


def _drawn(recording: Recording) -> Tensor | None:
    """Return the first latents that the pipeline drew; None if it did not."""
    return next((latents for _, latents in leaves(recording.prepared)), None)


def _video_frames(card: Card, recording: Recording) -> int:
    """Return the token frames of the video in the first forward."""
    component, first = first_of(card, recording)
    facts = card.models[component]
    return facts.volume(first.model, first.arguments)[0] - facts.lead(first.model, first.arguments)


def _time_patch(card: Card, recording: Recording) -> int:
    return card.time_patch(recording.pipe)


def first_of(card: Card, recording: Recording) -> tuple[str, FirstForward]:
    """Return the model of the facts that ran first, with its first forward; control nets may run before it."""
    return next((name, first) for name, first in recording.first.items() if name in card.models)


def steps(card: Card, forwards: Sequence[Forward]) -> Iterator[Finding]:
    """Yield whether solver steps count up, and whether their noise falls in [0, 1]."""
    indices = sorted({forward.step.index for forward in forwards})
    total = forwards[0].step.total
    if indices[-1] >= total:
        yield Finding(fact="steps", ok=False, found=f"a forward is of step {indices[-1]} of {total}, counted from 0")
        return
    rising = [(one, other) for one, other in pairwise(_noise_of(forwards)) if one[0] < other[0] and one[1] < other[1]]
    if rising:
        (_, before), (index, after) = rising[0]
        yield Finding(
            fact="ascending_sigmas",
            ok=False,
            found=f"noise rises from {before:.3g} to {after:.3g} in step {index}, and the facts say "
            f"{card.ascending_sigmas}",
        )
        return
    levels = [f"{sigma:.3g}" for _, sigma in _noise_of(forwards)]
    noise = f", noise {levels[0]} to {levels[-1]}" if levels else ", with sigmas that are not noise levels in [0, 1]"
    yield Finding(fact="steps", ok=True, found=f"{len(indices)} of {total} solver steps have forwards{noise}")


def _noise_of(forwards: Sequence[Forward]) -> list[tuple[int, float]]:
    return [(forward.step.index, forward.step.sigma) for forward in forwards if forward.step.sigma is not None]
