"""CogVideoX and ConsisID, which was made from it."""

from dataclasses import replace

from torch import nn

from genkit.attention.facts.model_facts import ModelFacts, all_before
from genkit.attention.facts.positions import COGVIDEOX_2B_POSITIONS, COGVIDEOX_POSITIONS
from genkit.attention.facts.volume import configured, frames_first


def _without_rotation(facts: ModelFacts, model: nn.Module) -> ModelFacts:
    """A checkpoint without rotary positions adds a sinusoid."""
    if configured(model, "use_rotary_positional_embeddings"):
        return facts
    return replace(facts, positions=COGVIDEOX_2B_POSITIONS)


MODELS = (
    ModelFacts(
        classes=("CogVideoXTransformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn1"},
        blocks=("transformer_blocks",),
        volume=frames_first,
        frame_axis=1,
        before=all_before,
        positions=COGVIDEOX_POSITIONS,
        read=_without_rotation,
    ),
    ModelFacts(
        classes=("ConsisIDTransformer3DModel",),
        layers={"joint": r"transformer_blocks\.\d+\.attn1"},
        volume=frames_first,
        frame_axis=1,
        before=all_before,
        positions=COGVIDEOX_POSITIONS,
        read=_without_rotation,
    ),
)
