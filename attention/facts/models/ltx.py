"""LTX-Video."""

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import LTX_POSITIONS
from genkit.attention.facts.volume import packed

MODELS = (
    ModelFacts(
        classes=("LTXVideoTransformer3DModel",),
        layers={"self": r"transformer_blocks\.\d+\.attn1", "cross": r"transformer_blocks\.\d+\.attn2"},
        blocks=("transformer_blocks",),
        volume=packed,
        frame_axis=None,
        positions=LTX_POSITIONS,
        one_level=None,
    ),
)
