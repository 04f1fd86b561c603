"""HunyuanVideo and the models that were made from it."""

from dataclasses import replace
from math import prod

from torch import nn

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import HUNYUAN_POSITIONS, fixed_positions
from genkit.attention.facts.volume import Arguments, channels_first, configured

REFINER = {r"context_embedder\.token_refiner\.refiner_blocks\.\d+\.attn": "it sees text alone"}
HISTORY = {
    "latents_clean": (1, 2, 2),
    "latents_history_2x": (2, 4, 4),
    "latents_history_4x": (4, 8, 8),
}
"""Earlier latents that FramePack puts in front of a section, each with the latents that one of their tokens covers."""


def _in_place(facts: ModelFacts, model: nn.Module) -> ModelFacts:
    """A checkpoint that gives the first frame another modulation finds its tokens by their place in the sequence."""
    if configured(model, "image_condition_type") != "token_replace":
        return facts
    return replace(facts, blocks=(), one_piece="it takes the first frame of every forward for the given image")


def _history(model: nn.Module, arguments: Arguments) -> int:
    """Return the tokens of earlier latents; a strided convolution makes them, with the last patch filled up."""
    given = {name: arguments.get(name) for name in HISTORY}
    return sum(
        prod(-(-length // patch) for length, patch in zip(latents.shape[2:], HISTORY[name], strict=True))
        for name, latents in given.items()
        if latents is not None and arguments.get(f"indices_{name}") is not None
    )


MODELS = (
    ModelFacts(
        classes=("HunyuanVideoTransformer3DModel",),
        layers={"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
        excluded=REFINER,
        blocks=("transformer_blocks", "single_transformer_blocks"),
        volume=channels_first,
        positions=HUNYUAN_POSITIONS,
        read=_in_place,
    ),
    ModelFacts(
        classes=("HunyuanVideoFramepackTransformer3DModel",),
        layers={"joint": r"(single_)?transformer_blocks\.\d+\.attn"},
        excluded=REFINER,
        volume=channels_first,
        before=_history,
        positions=fixed_positions("numbers the frames of a section together with the history in front of it"),
    ),
    ModelFacts(
        classes=("HunyuanVideo15Transformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn"},
        excluded=REFINER,
        blocks=("transformer_blocks",),
        volume=channels_first,
        positions=HUNYUAN_POSITIONS,
    ),
)
