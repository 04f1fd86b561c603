"""UNets, whose attention along time and inside frames is apart."""

from genkit.attention.calls.call import Kind
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import ANIMATEDIFF_POSITIONS
from genkit.attention.facts.volume import configured, unet

IN_FRAMES: dict[Kind, str] = {
    "spatial": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn1",
    "cross": r".*\battentions\.\d+\.transformer_blocks\.\d+\.attn2",
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
        layers={
            "temporal": r"(.*\btemp_attentions\.\d+|transformer_in)\.transformer_blocks\.\d+\.attn[12]",
            **IN_FRAMES,
        },
        volume=unet,
    ),
)
