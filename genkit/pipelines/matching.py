"""The card of a pipeline: which facts are its own."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from genkit.attention.facts.call import defaults_of_call, is_modular
from genkit.attention.facts.card import Card, Traits
from genkit.attention.facts.known import facts_of_class, facts_of_model
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import plain_model
from genkit.errors import UsageError
from genkit.pipelines.inputs import inputs_of
from genkit.pipelines.known import OURS, pipelines
from genkit.pipelines.lengths import VIDEOS
from genkit.pipelines.pipeline_facts import PipelineFacts

DENOISERS = ("transformer", "transformer_2", "unet")
"""Components that may be a denoising model, to name in a refusal."""


def card_of(pipe: Any) -> Card:
    """Return what is known of a pipeline, with what its configuration says.

    Raises:
        UsageError: nothing is known of its model or of such pipelines, or no plug-in can work there; the message says
            what to do.
    """
    parts = _parts(pipe)
    if is_modular(pipe) and "scheduler" not in parts:
        raise UsageError(
            f"{type(pipe).__name__}: no plug-in can work there, because it has no scheduler, and the noise level of a "
            "step is read from that"
        )
    facts = _facts_of({name: type(part) for name, part in parts.items()}, type(pipe).__name__, defaults_of_call(pipe))
    models = {name: found for name in facts.components if (found := facts_of_model(parts.get(name))) is not None}
    published = next((one for one in facts.published if one.when(pipe)), None)
    traits = {trait.name: getattr(facts, trait.name) for trait in fields(Traits)}
    traits |= _length_of(facts, frozenset(defaults_of_call(pipe)))
    traits["one_level"] = facts.one_level or next(iter(models.values())).one_level
    card = Card(
        family=published.family if published else facts.name,
        title=published.title if published else type(pipe).__name__,
        models=models,
        native_frames=published.native_frames if published else None,
        fps=published.fps if published else None,
        frame_multiple=published.multiple if published else None,
        own_lengths=published.own_lengths if published else None,
        defaults=published.defaults if published else {},
        takes=inputs_of(pipe, facts.takes, () if is_modular(pipe) else facts.needs),
        **traits,
    )
    card = facts.read(card, pipe)
    return _of_blocks(card) if is_modular(pipe) else card


def _of_blocks(card: Card) -> Card:
    """Return the card of a pipeline made of blocks: a guider runs one forward for each branch, cond first, and one
    block draws the noise before another adds what was given."""
    return replace(card, branches="guider", given_frames=0)


def _length_of(facts: PipelineFacts, arguments: frozenset[str]) -> dict[str, str | None]:
    """Return where a call has its length: in an argument of its own, or in a video that it takes."""
    if facts.length_argument in arguments:
        return {}
    videos = (name for name in VIDEOS if name in arguments)
    return {"length_argument": None, "length_from": facts.length_from or next(videos, None)}


def is_tested_pipeline(pipe: Any) -> bool:
    """Return True for a pipeline of diffusers with facts of this package, which its tests compare with it."""
    kinds = {name: type(part) for name, part in _parts(pipe).items()}
    facts = _facts_of(kinds, type(pipe).__name__, defaults_of_call(pipe))
    return any(facts is one for one in OURS) and type(pipe).__module__.startswith("diffusers.")


def check_index(pipeline: type, index: Mapping[str, Any]) -> None:
    """Refuse a model by its ``model_index.json`` or ``modular_model_index.json``, before any weights are read.

    Raises:
        UsageError: as :func:`card_of`.
    """
    import diffusers

    parts = {name: value for name, value in index.items() if isinstance(value, list | tuple) and len(value) in (2, 3)}
    named = {name: value[1] for name, value in parts.items()}
    kinds = {name: getattr(diffusers, kind, type(kind, (), {})) for name, kind in named.items() if kind is not None}
    known = {name: kind for name, kind in kinds.items() if isinstance(kind, type)}
    _facts_of(known, pipeline.__name__, defaults_of_call(pipeline))


def _parts(pipe: Any) -> dict[str, Any]:
    """Return the parts of a pipeline by name, models without the wrapper of ``torch.compile``."""
    parts = {name: part for name, part in vars(pipe).items() if not name.startswith("_")}
    return {name: plain_model(part) for name, part in parts.items() if part is not None}


def _facts_of(kinds: Mapping[str, type], pipeline: str, arguments: Iterable[str]) -> PipelineFacts:
    """Return the facts that match best the parts of a pipeline and the arguments of its call.

    Raises:
        UsageError: none match, two match equally well, or those that do refuse the pipeline.
    """
    families = pipelines()
    known = {name: facts for name, kind in kinds.items() if (facts := facts_of_class(kind)) is not None}
    for facts in known.values():
        if facts.refused is not None:
            raise UsageError(f"{pipeline}: no plug-in can work in a {facts.classes[0]}, because {facts.refused}")
    has = frozenset(kinds) | frozenset(arguments)
    scores = {facts.name: facts.matches(known, has) for facts in families}
    best = [facts for facts in families if scores[facts.name] == max(scores.values(), default=0) > 0]
    if len(best) > 1:
        first, second = (facts.name for facts in best[:2])
        raise UsageError(f"{pipeline} matches the facts {first!r} and {second!r} equally well; add to `needs` of one")
    if best and best[0].refused is not None:
        raise UsageError(f"{pipeline}: no plug-in can work there, because {best[0].refused}")
    if not best or not known:
        raise UsageError(_unknown(pipeline, kinds, known))
    return best[0]


def _unknown(pipeline: str, kinds: Mapping[str, type], known: Mapping[str, ModelFacts]) -> str:
    """Return the sentence for a pipeline that nothing is known of, which names what is missing."""
    found = [f"{name} is a {kinds[name].__name__}" for name in DENOISERS if name in kinds]
    missing = "PipelineFacts" if known else "ModelFacts and PipelineFacts"
    what = f"its {' and its '.join(found)}" if found else "it has no denoising model"
    return (
        f"nothing is known of {pipeline} ({what}); `genkit models` lists what is, and genkit.register adds "
        f"{missing} for others, most of which genkit.trace(pipe), or `genkit trace MODEL`, finds out"
    )
