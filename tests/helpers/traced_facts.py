"""What ``genkit.trace`` finds of a pipeline whose own facts are hidden, compared with those facts.

same = compared("WanPipeline")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from small_pipelines import SMALL

from genkit.attention.facts import known as known_models
from genkit.attention.facts.card import Card
from genkit.attention.facts.model_facts import class_names
from genkit.attention.replays.replay import FirstForward, replay
from genkit.pipelines import known
from genkit.pipelines.matching import card_of
from genkit.recording.small import record_small
from genkit.tracing.trace import Trace, trace

GIVEN: dict[str, tuple[str, ...]] = {"SanaVideoPipeline": ("use_resolution_binning", "height", "width")}
"""Arguments of the small pipeline's call that a trace of it has to be given; all others are found."""


@dataclass
class Compared:
    """One pipeline: its trace, and for each fact None if both agree, else what differs."""

    name: str
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
    given = {key: small.arguments()[key] for key in GIVEN.get(name, ())}
    card = card_of(pipe)
    recording = record_small(pipe, **given)
    with hidden(pipe):
        made = trace(pipe, **given)
        if made.pipeline is None:
            return Compared(name, made, {"all": made.report().splitlines()[-1]})
        made.register()
        traced = card_of(pipe)
    found = Compared(name, made)
    first = recording.first[next(iter(card.models))]
    for fact, (own, other) in _pairs(pipe, card, traced, first):
        found.differs[fact] = None if own == other else f"{other} instead of {own}"
    return found


def _pairs(pipe: Any, card: Card, traced: Card, first: FirstForward) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Each fact as the package has it and as it was traced, by its meaning in one forward of the pipeline."""
    model, arguments = first.model, first.arguments
    own, other = card.models[first.component], traced.models[first.component]
    yield "volume", tuple((facts.volume(model, arguments), facts.frame_axis) for facts in (own, other))
    layers = list(dict.fromkeys(call.layer for call in replay(first).calls))
    yield "kinds", tuple({name: facts.kind_of(name) for name in layers} for facts in (own, other))
    yield "other tokens", (_before(own, first), _before(other, first))
    yield "blocks", (own.blocks, other.blocks)
    yield "positions", tuple((facts.positions.making, facts.positions.where) for facts in (own, other))
    yield "levels", (card.one_level is None, traced.one_level is None)
    yield "branches", (card.branches, traced.branches)
    yield "prompts", (card.prompts, traced.prompts)
    yield "given", tuple((one.given_frames, one.given is not None) for one in (card, traced))
    yield "noise", tuple((one.noise_axis, one.channel_axis, one.ascending_sigmas) for one in (card, traced))
    yield "sizes", tuple((one.stride(pipe), one.size_steps(pipe)) for one in (card, traced))


def _before(facts: Any, first: FirstForward) -> Any:
    try:
        return facts.before(first.model, first.arguments), facts.others_in_self(first.model, first.arguments)
    except ValueError:
        return "to fill in"
