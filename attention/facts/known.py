"""All model classes that something is known of: those of diffusers, and those that other packages register."""

from typing import Any

from genkit.attention.facts.model_facts import ModelFacts, class_names
from genkit.attention.facts.models import (
    allegro_latte_easyanimate,
    cogvideox,
    cosmos,
    helios,
    hunyuan,
    kandinsky,
    ltx,
    minimax,
    mochi,
    motif,
    sana,
    unets,
    wan,
)
from genkit.attention.facts.volume import plain_model

OURS: tuple[ModelFacts, ...] = (
    *wan.MODELS,
    *helios.MODELS,
    *hunyuan.MODELS,
    *ltx.MODELS,
    *cogvideox.MODELS,
    *mochi.MODELS,
    *kandinsky.MODELS,
    *motif.MODELS,
    *allegro_latte_easyanimate.MODELS,
    *cosmos.MODELS,
    *sana.MODELS,
    *minimax.MODELS,
    *unets.MODELS,
)
_BY_CLASS: dict[str, ModelFacts] = {name: facts for facts in OURS for name in facts.classes}


def register_model(facts: ModelFacts, *, replace: bool = False) -> None:
    """Make a model class known for as long as the process lives.

    Raises:
        ValueError: one of its classes is known already, and ``replace`` is False.
    """
    taken = [name for name in facts.classes if name in _BY_CLASS and _BY_CLASS[name] != facts]
    if taken and not replace:
        raise ValueError(f"the model class {taken[0]} is known already; pass replace=True to put these facts in place")
    _BY_CLASS.update(dict.fromkeys(facts.classes, facts))


def facts_of_class(kind: Any) -> ModelFacts | None:
    """Return the facts of a model class or of its nearest base that has some; None if nothing is known."""
    return next((_BY_CLASS[name] for name in class_names(kind) if name in _BY_CLASS), None)


def facts_of_model(model: Any) -> ModelFacts | None:
    """Return the facts of a model, with what its configuration overrides; None if nothing is known of its class."""
    model = plain_model(model)
    facts = facts_of_class(type(model))
    return None if facts is None else facts.read(facts, model)


def is_tested(model: Any) -> bool:
    """Return True for a model of diffusers' own class with facts of this package, which its tests compare with it."""
    kind = type(plain_model(model))
    facts = facts_of_class(kind)
    if facts is None or not any(facts is one for one in OURS):
        return False
    return kind.__module__.startswith("diffusers.") and kind.__name__ in facts.classes


def facts_of_name(name: str) -> ModelFacts | None:
    """Return the facts of a model class by its name; None if nothing is known of it."""
    return _BY_CLASS.get(name)
