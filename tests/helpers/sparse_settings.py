"""Every sparse plug-in set for the small random models of ``families``: once to leave much out, once to keep all.

One clip has 60 tokens of video there, in 5 latent frames, so blocks are small and nothing else runs dense.
"""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.cards import card_of
from genkit.attention.facts.model_card import ModelCard
from genkit.plugins import catalogue

ALWAYS = "block=8,min_tokens=1,dense_steps=0,dense_layers=0"
SPARSE = {
    "adaspa": "density=0.3",
    "frame-anchors": "near=0,key_frames=0",
    "radial": "density=0.5",
    "sliding-tile": "tile=2x2x2,window=1x1x1",
    "sparge": "density=0.3",
    "svg": "density=0.3,rows=16",
    "svg2": "top_p=0.3,least=0.05,query_cluster=12,key_cluster=6",
    "threshold": "tau=1",
    "vmoba": "threshold=0.25",
}
DENSE = {
    "adaspa": "density=1",
    "frame-anchors": "near=9",
    "radial": "density=1",
    "sliding-tile": "tile=2x2x2,window=9x9x9",
    "sparge": "density=1",
    "svg": "density=1,rows=16",
    "svg2": "top_p=1,least=1,query_cluster=12,key_cluster=6",
    "threshold": "tau=-1000",
    "vmoba": "threshold=1",
}


def text(settings: dict[str, str], name: str) -> str:
    """One of the plug-ins, in its textual form."""
    return f"{name}:{settings[name]},{ALWAYS}"


def made(settings: dict[str, str], name: str) -> Any:
    """One of the plug-ins."""
    return catalogue.parse(text(settings, name))


def short_native(pipe: Any) -> ModelCard:
    """The family's card with a training length of three latent frames, so that every test clip is a long one."""
    card = card_of(pipe)
    return replace(card, native_frames=2 * card.stride(pipe) + 1)
