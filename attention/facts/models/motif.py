"""Motif."""

from dataclasses import replace

from torch import nn

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import HUNYUAN_POSITIONS
from genkit.attention.facts.volume import channels_first, configured

_CROSS = r"(single_)?transformer_blocks\.\d+\.cross_attn"


def _decoder(facts: ModelFacts, model: nn.Module) -> ModelFacts:
    """The last single blocks see the video twice: the video that they decode, and the one that the others encoded."""
    total, last = (configured(model, name) or 0 for name in ("num_single_layers", "num_decoder_layers"))
    if not last:
        return facts
    numbers = "|".join(map(str, range(total - last, total)))
    return replace(
        facts,
        layers={"joint": rf"transformer_blocks\.\d+\.attn|single_transformer_blocks\.(?!({numbers})\.)\d+\.attn"},
        dense={rf"single_transformer_blocks\.({numbers})\.attn": "they see the video twice, in two versions"},
        blocks=(),
    )


MODELS = (
    ModelFacts(
        classes=("MotifVideoTransformer3DModel",),
        layers={"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
        excluded={_CROSS: "its text is the model's own state, not the prompt's tokens"},
        blocks=("transformer_blocks", "single_transformer_blocks"),
        volume=channels_first,
        positions=HUNYUAN_POSITIONS,
        read=_decoder,
    ),
)
