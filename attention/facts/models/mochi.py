"""Mochi."""

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import MOCHI_POSITIONS
from genkit.attention.facts.volume import channels_first

MODELS = (
    ModelFacts(
        classes=("MochiTransformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn1"},
        excluded={r"time_embed\.pooler": "it sees text alone"},
        blocks=("transformer_blocks",),
        volume=channels_first,
        positions=MOCHI_POSITIONS,
    ),
)
