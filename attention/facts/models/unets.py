"""UNets, whose attention along time and inside frames is apart."""

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import ANIMATEDIFF_POSITIONS, fixed_positions
from genkit.attention.facts.volume import configured, unet, unet_frames_first

IN_FRAMES: dict[Kind, str] = {
    "spatial": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "cross": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn2",
}

WITH_CONVOLUTIONS: dict[Kind, str] = {
    "temporal": r"(.*\btemp_attentions\.\d+|transformer_in)\.transformer_blocks\.\d+\.attn[12]",
    **IN_FRAMES,
}

MODELS = (
    ModelFacts(
        classes=("UNetMotionModel",),
        layers={"temporal": r".*motion_modules\.\d+\.transformer_blocks\.\d+\.attn[12]", **IN_FRAMES},
        volume=unet,
        positions=ANIMATEDIFF_POSITIONS,
        longest=lambda model: configured(model, "motion_max_seq_length"),
    ),
    ModelFacts(
        classes=("UNet3DConditionModel",),
        layers=WITH_CONVOLUTIONS,
        volume=unet,
    ),
    ModelFacts(
        classes=("I2VGenXLUNet",),
        layers=WITH_CONVOLUTIONS,
        excluded={r"image_latents_temporal_encoder\.attn1": "it reads the image alone"},
        volume=unet,
    ),
    ModelFacts(
        classes=("UNet2DConditionModel",),
        layers={},
        volume=unet,
        refused="it makes images and has no axis of time; Text2Video-Zero makes all of them read the first by "
        "processors of its own, with a softmax that is written out",
    ),
    ModelFacts(
        classes=("UNetSpatioTemporalConditionModel",),
        layers={"temporal": r".*\btemporal_transformer_blocks\.\d+\.attn1", **IN_FRAMES},
        excluded={r".*\btemporal_transformer_blocks\.\d+\.attn2": "its only key is the image"},
        volume=unet_frames_first,
        frame_axis=1,
        positions=fixed_positions("adds the number of each frame by a small network, which no plug-in rewrites"),
    ),
)
