"""HunyuanVideo and the models that were made from it."""

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import HUNYUAN_POSITIONS
from genkit.attention.facts.volume import channels_first

REFINER = {r"context_embedder\.token_refiner\.refiner_blocks\.\d+\.attn": "it sees text alone"}

MODELS = (
    ModelFacts(
        classes=("HunyuanVideoTransformer3DModel",),
        layers={"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
        excluded=REFINER,
        blocks=("transformer_blocks", "single_transformer_blocks"),
        volume=channels_first,
        positions=HUNYUAN_POSITIONS,
    ),
)
