"""The check of one model's facts by replays of its first forward."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch

from genkit.attention.calls.call import Kind
from genkit.attention.conformance.finding import Finding
from genkit.attention.conformance.levels import levels
from genkit.attention.conformance.modules import accounted, as_named, kinds_of, masks, patterns
from genkit.attention.conformance.moving import PARTS, Latents
from genkit.attention.conformance.order import row_order
from genkit.attention.conformance.places import Evidence, places
from genkit.attention.conformance.positions import positions
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.replays.replay import FirstForward, replay

FAILURES = (LookupError, AttributeError, TypeError, ValueError, RuntimeError)
"""What readers of facts and models raise for arguments that they do not expect."""


def check_model(first: FirstForward, facts: ModelFacts, *, brief: bool = False) -> list[Finding]:
    """Return what the replays of a forward show, against the facts of its model.

    Args:
        first: forward of a model with the arguments of its own pipeline.
        facts: of the model.
        brief: end each forward after the first layer of every list of blocks, which takes a small part of one
            forward of a deep model; False runs all layers.
    """
    found = list(patterns(first.model, facts)) or list(_readable(first, facts))
    if not found:
        try:
            found += _replayed(first, facts, brief)
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            found.append(Finding(fact="forward", ok=False, found=f"it could not be run again ({_said(error)})"))
    return [replace(one, fact=f"{first.component}.{one.fact}") for one in found]


def _readable(first: FirstForward, facts: ModelFacts) -> Iterator[Finding]:
    """Yield which numbers of tokens cannot be read from the arguments of the forward."""
    latents = Latents(first.model, facts, first.arguments)
    readers: dict[str, Callable[[], Any]] = {
        "volume": lambda: latents.volume,
        "others_in_self": lambda: latents.others,
        "before": lambda: latents.before(0),
        "keys_only": lambda: facts.keys_only(first.model, first.arguments),
        "lead": lambda: facts.lead(first.model, first.arguments),
    }
    for fact, read in readers.items():
        try:
            read()
        except FAILURES as error:
            yield Finding(fact=fact, ok=False, found=f"it cannot be read from a forward ({_said(error)})")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or 'without a reason').splitlines()[0]}"


def _replayed(first: FirstForward, facts: ModelFacts, brief: bool) -> Iterator[Finding]:
    kinds = kinds_of(first.model, facts)
    until = enough(facts, kinds) if brief else None
    latents = Latents(first.model, facts, first.arguments)
    yield from _axes(latents)
    plain = replay(first, apart=True, until=until)
    changes = {part: latents.changed(part) for part in PARTS}
    moved = {part: replay(first, change, apart=True, until=until) for part, change in changes.items() if change}
    if not all(plain.same_calls(other) for other in moved.values()):
        yield Finding(fact="layers", ok=False, found="other latents of the same size make other attention calls")
        return
    evidence = Evidence(
        latents, kinds, as_named(kinds, plain.calls), {part: as_named(kinds, one.calls) for part, one in moved.items()}
    )
    ran = {call.layer for call in evidence.plain}
    yield from accounted(facts, {layer: kinds[layer] for layer in kinds if layer in ran or not brief}, evidence.plain)
    yield from masks(facts, kinds, evidence.plain)
    misplaced = list(places(evidence))
    yield from misplaced or _right(latents, evidence)
    if not misplaced:
        yield from row_order(first, latents, kinds)
        yield from positions(first, latents, until)
        yield from levels(first, latents, kinds, plain, until)


def enough(facts: ModelFacts, kinds: dict[str, Kind]) -> dict[str, int]:
    """Return the calls that show the video in one of the modules whose names differ in numbers alone, of each group."""
    groups: dict[str, str] = {}
    for layer in kinds:
        groups.setdefault(re.sub(r"\.\d+", ".#", layer), layer)
    return {layer: 1 + (facts.text_calls if kinds[layer] == "joint" else 0) for layer in groups.values()}


def _axes(latents: Latents) -> Iterator[Finding]:
    """Yield whether volume and frame_axis speak of one axis."""
    stated, counted = latents.facts.frame_axis, latents.axis("frame")
    if stated is not None and counted is not None and stated != counted:
        yield Finding(
            fact="frame_axis", ok=False, found=f"volume counts frames along axis {counted} of the latents, not {stated}"
        )


def _right(latents: Latents, evidence: Evidence) -> Iterator[Finding]:
    """Yield where the video is, which was found to be right."""
    volume = " x ".join(map(str, latents.volume))
    yield Finding(fact="volume", ok=True, found=f"{volume} tokens, frame by frame and row by row")
    for kind in ("self", "joint"):
        of_kind = [call for call in evidence.plain if evidence.kinds.get(call.layer) == kind]
        video = [
            call.tokens[0] for call in of_kind if call.number >= (latents.facts.text_calls if kind == "joint" else 0)
        ]
        for others in sorted({tokens - prod(latents.volume) for tokens in video}):
            before = latents.before(others)
            said = f"{kind}: {before + evidence.keys_only(kind)} other tokens before the video, {others - before} after"
            yield Finding(fact="before", ok=True, found=said)
