"""Wan and the models that were made from it."""

from torch import Tensor, nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import CHRONOEDIT_POSITIONS, WAN_POSITIONS, PositionFacts
from genkit.attention.facts.volume import Arguments, channels_first, configured, frames_first

LAYERS: dict[Kind, str] = {"self": r"blocks\.\d+\.attn1", "cross": r"blocks\.\d+\.attn2"}


def references(model: nn.Module, arguments: Arguments) -> int:
    """Return how many reference images stand in front of VACE's video: frames whose control has nothing to change.

    The control is the latents of what stays, the latents of what changes, and a mask; the latents of a black frame are
    not 0, those of a reference are.
    """
    channels = configured(model, "in_channels")
    changing: Tensor = arguments["control_hidden_states"][:, channels : 2 * channels]
    kept = (changing == 0).movedim(2, 0).flatten(1).all(1).tolist()
    return next((frame for frame, empty in enumerate(kept) if not empty), 0)


MODELS = (
    ModelFacts(
        classes=("WanTransformer3DModel",),
        layers=LAYERS,
        blocks=("blocks",),
        volume=channels_first,
        positions=WAN_POSITIONS,
        one_level=None,
    ),
    ModelFacts(
        classes=("WanVACETransformer3DModel",),
        layers={"self": r"(vace_)?blocks\.\d+\.attn1", "cross": r"(vace_)?blocks\.\d+\.attn2"},
        volume=channels_first,
        lead=references,
        positions=WAN_POSITIONS,
    ),
    ModelFacts(
        classes=("WanAnimateTransformer3DModel",),
        layers=LAYERS,
        excluded={r"face_adapter\.\d+": "each frame reads the face of that frame alone"},
        volume=channels_first,
        lead=lambda model, arguments: 1,
        positions=WAN_POSITIONS,
    ),
    ModelFacts(
        classes=("WanAnimate2Transformer3DModel",),
        layers={"cross": r"blocks\.\d+\.cross_attn"},
        excluded={r"blocks\.\d+\.self_attn": "it is FlexAttention with a block mask"},
        volume=channels_first,
        refused="the frames that it makes attend to one another in FlexAttention with a block mask of its own, and "
        "never in scaled_dot_product_attention; run it without plug-ins",
    ),
    ModelFacts(
        classes=("ChronoEditTransformer3DModel",),
        layers=LAYERS,
        blocks=("blocks",),
        volume=channels_first,
        positions=CHRONOEDIT_POSITIONS,
        one_level="its frames are steps from one image to another, and two of them are left in the end",
    ),
    ModelFacts(
        classes=("SkyReelsV2Transformer3DModel",),
        layers=LAYERS,
        blocks=("blocks",),
        volume=channels_first,
        positions=WAN_POSITIONS,
        one_level="only its diffusion forcing pipelines give each frame its own level, by schedules of their own",
    ),
    ModelFacts(
        classes=("AnyFlowTransformer3DModel",),
        layers=LAYERS,
        volume=frames_first,
        frame_axis=1,
        positions=PositionFacts(
            making="none", fixed="has them in complex numbers, for queries and keys apart, which cannot be changed yet"
        ),
        one_level="each step goes from one level to another, and both are given for all frames",
    ),
    ModelFacts(
        classes=("AnyFlowFARTransformer3DModel",),
        layers={"cross": r"blocks\.\d+\.attn2"},
        excluded={r"blocks\.\d+\.attn1": "it is FlexAttention with a block mask"},
        volume=frames_first,
        frame_axis=1,
        refused="its frames attend to one another in FlexAttention, chunk by chunk with a block mask of its own, and "
        "never in scaled_dot_product_attention; use AnyFlowPipeline, or run it without plug-ins",
    ),
)
