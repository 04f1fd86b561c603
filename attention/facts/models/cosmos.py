"""Cosmos 1, 2 and 2.5, with the control net of 2.5 Transfer, and Cosmos 3."""

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import COSMOS_POSITIONS, fixed_positions
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


def _packed_frames(model: nn.Module, arguments: Arguments) -> Volume:
    """Read the shape of the one video among packed tokens.

    Raises:
        ValueError: there are several videos.
    """
    shapes = arguments["vision_token_shapes"]
    if len(shapes) != 1:
        raise ValueError(f"the model gets {len(shapes)} videos at once; give it one, or leave out the plug-ins")
    frames, rows, cols = shapes[0]
    return frames, rows, cols


def _text_in_front(model: nn.Module, arguments: Arguments) -> int:
    """Return the tokens of the text, which the video reads but which never reads the video."""
    return int(arguments["und_len"])


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
    ModelFacts(
        classes=("Cosmos3OmniTransformer",),
        layers={"joint": r"layers\.\d+\.self_attn"},
        text_calls=1,
        volume=_packed_frames,
        keys_only=_text_in_front,
        positions=fixed_positions("numbers text, frames and sound in one table that its pipeline makes"),
        one_level="its video, its sound and its actions share one schedule",
        one_piece="each forward gets text, frames and sound packed into one sequence",
    ),
)
