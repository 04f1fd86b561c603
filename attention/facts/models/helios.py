"""Helios: a chunk of video after a history of three lengths."""

from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.facts.positions import PositionFacts
from genkit.attention.facts.volume import channels_first

MODELS = (
    ModelFacts(
        classes=("HeliosTransformer3DModel",),
        layers={"joint": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"},
        volume=channels_first,
        before=all_before,
        positions=PositionFacts(
            making="none", fixed="counts them on from a history of earlier chunks, which cannot be changed yet"
        ),
        one_level="its history has no noise and its chunk one level",
    ),
)
