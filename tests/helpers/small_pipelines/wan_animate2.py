"""Wan-Animate 2, modular only: a character moves as in a driving video, segment by segment."""

from functools import partial
from typing import Any

import diffusers
from families import NEGATIVE, PROMPT
from family_parts import TEXT_WIDTH, tokenizer, umt5, wan_vae
from transformers import CLIPVisionConfig, CLIPVisionModel

from small_pipelines.form import SmallModular, small
from small_pipelines.parts import film, image


def _build(blocks: str) -> Any:
    pipe = getattr(diffusers, blocks)().init_pipeline()
    pipe.update_components(
        text_encoder=umt5(),
        tokenizer=tokenizer(512),
        image_encoder=_vision(),
        vae=wan_vae(),
        transformer=_transformer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )
    return pipe


def _vision() -> CLIPVisionModel:
    """Return an image encoder of 1,280 channels, which the class of the transformer asks for."""
    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=1280,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=112,
        )
    )


def _transformer() -> Any:
    return diffusers.WanAnimate2Transformer3DModel(
        text_len=16,
        in_dim=4 + 4 + 4,
        out_dim=4,
        dim=64,
        ffn_dim=64,
        freq_dim=32,
        text_dim=TEXT_WIDTH,
        num_heads=4,
        num_layers=2,
    )


def _entry(blocks: str) -> SmallModular:
    return SmallModular(
        build=small(partial(_build, blocks)),
        call={
            "prompt": PROMPT,
            "negative_prompt": NEGATIVE,
            "num_inference_steps": 2,
            "height": 64,
            "width": 64,
            "segment_frame_length": 9,
            "max_sequence_length": 16,
            "output_type": "np",
        },
        inputs={"image": image(64, 64), "driving_video": film(9, 64, 64)},
        output="videos",
        slow=True,
        note="the video tokens reach compiled FlexAttention; the driving video reaches dense attention, once a segment",
    )


PIPELINES: dict[str, SmallModular] = {
    "WanAnimate2ModularPipeline": _entry("WanAnimate2Blocks"),
    "WanAnimate2DistilledModularPipeline": _entry("WanAnimate2DistilledBlocks"),
}
