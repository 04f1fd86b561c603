"""SANA-Video and SANA-WM, whose attention over the video is linear in all blocks or in most of them."""

from dataclasses import replace

from torch import nn

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import fixed_positions
from genkit.attention.facts.volume import channels_first, configured

_LINEAR = "their attention is linear, so it has no softmax over keys that could be left out"
_POSITIONS = fixed_positions("rotates inside linear attention, which no plug-in reaches")


def _softmax_blocks(facts: ModelFacts, model: nn.Module) -> ModelFacts:
    """Every n-th block has softmax attention; the others have a gated delta rule."""
    every = configured(model, "softmax_every_n") or 0
    numbers = range(configured(model, "num_layers") or configured(model, "depth") or 0)
    some = "|".join(str(number) for number in numbers if every and (number + 1) % every == 0)
    if not some:
        return replace(facts, layers={"cross": facts.layers["cross"]}, dense={r"blocks\.\d+\.attn": _LINEAR})
    return replace(
        facts,
        layers={**facts.layers, "self": rf"blocks\.({some})\.attn"},
        dense={rf"blocks\.(?!({some})\.)\d+\.attn": _LINEAR},
    )


MODELS = (
    ModelFacts(
        classes=("SanaVideoTransformer3DModel",),
        layers={"cross": r"transformer_blocks\.\d+\.attn2"},
        dense={r"transformer_blocks\.\d+\.attn1": _LINEAR},
        volume=channels_first,
        positions=_POSITIONS,
    ),
    ModelFacts(
        classes=("SanaWMTransformer3DModel",),
        layers={"self": r"blocks\.\d+\.attn", "cross": r"blocks\.\d+\.cross_attn"},
        volume=channels_first,
        positions=_POSITIONS,
        one_level="its camera poses are given for all frames at once",
        read=_softmax_blocks,
    ),
)
