"""Allegro, Latte and EasyAnimate."""

from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.facts.positions import EASYANIMATE_POSITIONS, fixed_positions
from genkit.attention.facts.volume import channels_first, configured

MODELS = (
    ModelFacts(
        classes=("AllegroTransformer3DModel",),
        layers={"self": r"transformer_blocks\.\d+\.attn1", "cross": r"transformer_blocks\.\d+\.attn2"},
        volume=channels_first,
        positions=fixed_positions("gets a separate table for each axis from its pipeline, which no plug-in rewrites"),
    ),
    ModelFacts(
        classes=("LatteTransformer3DModel",),
        layers={
            "spatial": r"transformer_blocks\.\d+\.attn1",
            "temporal": r"temporal_transformer_blocks\.\d+\.attn1",
            "cross": r"transformer_blocks\.\d+\.attn2",
        },
        volume=channels_first,
        positions=fixed_positions("adds one table for its training length, and makes videos of no other length"),
        longest=lambda model: configured(model, "video_length"),
        one_piece="it adds one table of positions for all frames of its training length",
    ),
    ModelFacts(
        classes=("EasyAnimateTransformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn1"},
        blocks=("transformer_blocks",),
        volume=channels_first,
        before=all_before,
        positions=EASYANIMATE_POSITIONS,
    ),
)
