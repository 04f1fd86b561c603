"""Cosmos 1, 2 and 2.5, with the control net of 2.5 Transfer."""

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import COSMOS_POSITIONS
from genkit.attention.facts.volume import Arguments, Volume, channels_first, configured

FIVE_AXES = "its noise levels by frame are an argument of five axes, which no plug-in makes"


def _layers(blocks: str) -> dict[Kind, str]:
    return {"self": rf"{blocks}\.\d+\.attn1", "cross": rf"{blocks}\.\d+\.attn2"}


def _longest(model: nn.Module) -> int:
    """Positions along any axis end at the largest of the three sizes."""
    sizes = zip(configured(model, "max_size"), configured(model, "patch_size"), strict=True)
    return max(size // patch for size, patch in sizes)


def _control(model: nn.Module, arguments: Arguments) -> Volume:
    """Read ``latents [B, C, F, H, W]`` of a control net."""
    return channels_first(model, {"hidden_states": arguments["latents"]})


MODELS = (
    ModelFacts(
        classes=("CosmosTransformer3DModel",),
        layers=_layers("transformer_blocks"),
        volume=channels_first,
        positions=COSMOS_POSITIONS,
        one_level=FIVE_AXES,
        longest=_longest,
    ),
    ModelFacts(
        classes=("CosmosControlNetModel",),
        layers=_layers("control_blocks"),
        volume=_control,
        positions=COSMOS_POSITIONS,
        one_level=FIVE_AXES,
        longest=_longest,
    ),
)
