"""Every sparse plug-in set for the small random models of ``families``: once to leave much out, once to keep all.

One clip has 60 tokens of video there, in 5 latent frames, so blocks are small and nothing else runs dense.
"""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.card import Card
from genkit.pipelines.matching import card_of
from genkit.plugins import catalogue
from genkit.plugins.sparse import methods

ALWAYS = "block=8,min_tokens=1,dense_steps=0,dense_layers=0"
NAMES = methods.names()
SPARSE = {name: methods.text(name, "sparse") for name in NAMES}
DENSE = {name: methods.text(name, "dense") for name in NAMES}


def text(settings: dict[str, str], name: str) -> str:
    """One of the plug-ins, in its textual form."""
    return f"{settings[name]}{',' if ':' in settings[name] else ':'}{ALWAYS}"


def made(settings: dict[str, str], name: str) -> Any:
    """One of the plug-ins."""
    return catalogue.parse(text(settings, name))


def short_native(pipe: Any) -> Card:
    """The family's card with a training length of three latent frames, so that every test clip is a long one."""
    card = card_of(pipe)
    return replace(card, native_frames=2 * card.stride(pipe) + 1)
