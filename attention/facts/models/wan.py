"""Wan and the models that were made from it."""

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import WAN_POSITIONS
from genkit.attention.facts.volume import channels_first

LAYERS: dict[Kind, str] = {"self": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"}

MODELS = (
    ModelFacts(
        classes=("WanTransformer3DModel",),
        layers=LAYERS,
        blocks=("blocks",),
        volume=channels_first,
        positions=WAN_POSITIONS,
        one_level=None,
    ),
)
