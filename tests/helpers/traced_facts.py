"""What ``genkit.trace`` finds of a pipeline whose own facts are hidden, compared with those facts.

differs = compared("WanPipeline").differs
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from small_pipelines import SMALL

import genkit
from genkit.attention.facts import known as known_models
from genkit.attention.facts.card import Card
from genkit.attention.facts.model_facts import ModelFacts, class_names
from genkit.attention.replays.replay import FirstForward, replay
from genkit.pipelines import known
from genkit.pipelines.matching import card_of
from genkit.recording.small import record_small
from genkit.tracing.reading.patterns import numberless
from genkit.tracing.trace import Trace, trace

FACTS = (
    *("volume", "kinds", "other tokens", "blocks", "positions", "levels"),
    *("branches", "prompts", "given", "noise", "sizes"),
)
"""Facts that are compared."""


@dataclass
class Compared:
    """One pipeline: its trace, and what differs in each fact, None if nothing does."""

    name: str
    chosen: bool
    """True if the trace chose all arguments of the pipeline's call; False if it was given them."""
    trace: Trace
    differs: dict[str, str | None] = field(default_factory=dict)


@contextmanager
def hidden(pipe: Any) -> Iterator[None]:
    """Nothing is known of the models of a pipeline and of such pipelines, until the block ends."""
    models, families = dict(known_models._BY_CLASS), dict(known._REGISTERED)
    parts = [part for name, part in vars(pipe).items() if not name.startswith("_")]
    names = {name for part in parts for name in class_names(type(part))} & models.keys()
    try:
        for name in names:
            del known_models._BY_CLASS[name]
        for name, facts in families.items():
            if names & set(facts.models):
                del known._REGISTERED[name]
        yield
    finally:
        for registry, before in ((known_models._BY_CLASS, models), (known._REGISTERED, families)):
            registry.clear()
            registry.update(before)


def compared(name: str) -> Compared:
    """Trace the small pipeline of that name with its facts hidden, and compare."""
    small = SMALL[name]
    pipe = small.build()
    card = card_of(pipe)
    with hidden(pipe):
        try:
            given: dict[str, Any] = {}
            made = trace(pipe)
        except genkit.UsageError:
            given = small.arguments()
            made = trace(pipe, **given)
    found = Compared(name, not given, made)
    if made.pipeline is None:
        found.differs = dict.fromkeys(FACTS, "not found")
        return found
    recording = record_small(pipe, **(small.arguments() if given else {}))
    first = recording.first[next(iter(card.models))]
    with hidden(pipe):
        made.register()
        traced = card_of(pipe)
        found.differs = dict(_compare(pipe, card, traced, first))
    return found


def _compare(pipe: Any, card: Card, traced: Card, first: FirstForward) -> Iterator[tuple[str, str | None]]:
    """Each fact by its meaning in one forward of the pipeline."""
    model, arguments = first.model, first.arguments
    own, other = card.models[first.component], traced.models.get(first.component)
    if other is None:
        yield from dict.fromkeys(FACTS, "not found").items()
        return
    both = (own, other)
    yield "volume", _said(*((facts.volume(model, arguments), facts.frame_axis) for facts in both))
    yield "kinds", _kinds(*both, list(dict.fromkeys(call.layer for call in replay(first).calls)))
    yield "other tokens", _said(*(_others(facts, first) for facts in both))
    yield "blocks", _said(own.blocks, other.blocks)
    yield "positions", _said(*((facts.positions.making, facts.positions.where) for facts in both))
    levels = ("one for all frames", "one for each frame")
    yield "levels", _said(*(levels[one.one_level is None] for one in (card, traced)))
    yield "branches", _said(card.branches, traced.branches)
    yield "prompts", _said(card.prompts, traced.prompts)
    yield "given", _said(*(f"{one.given_frames} frames, given={one.given}" for one in _given(card, traced)))
    yield "noise", _said(*((one.noise_axis, one.channel_axis, one.ascending_sigmas) for one in (card, traced)))
    yield "sizes", _said(*((one.stride(pipe), one.size_steps(pipe)) for one in (card, traced)))


def _given(card: Card, traced: Card) -> tuple[Card, Card]:
    """Both cards with the same words where both say that more than noise is given."""
    from dataclasses import replace

    if card.given and traced.given:
        return card, replace(traced, given=card.given)
    return card, traced


def _said(own: Any, other: Any) -> str | None:
    return None if own == other else f"{_plain(other)} instead of {_plain(own)}"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(str(one) for one in value if one != "") or "none"
    return "none" if value is None else str(value)


def _kinds(own: ModelFacts, other: ModelFacts, layers: list[str]) -> str | None:
    pairs: Mapping[str, tuple[Any, Any]] = {
        numberless(name): (other.kind_of(name), own.kind_of(name))
        for name in layers
        if other.kind_of(name) != own.kind_of(name)
    }
    return ", ".join(f"{name} {one or 'none'} instead of {two or 'none'}" for name, (one, two) in pairs.items()) or None


def _others(facts: ModelFacts, first: FirstForward) -> str:
    """Other tokens before the video, and in one sequence with it in ``self`` layers; ``all``: all of them."""
    try:
        counts = (facts.before, facts.others_in_self, facts.lead)
        before, inside, images = (count(first.model, first.arguments) for count in counts)
    except ValueError:
        return "to be filled in"
    return f"{'all' if before is None else before} before, {inside} in self, {images} image frames"
