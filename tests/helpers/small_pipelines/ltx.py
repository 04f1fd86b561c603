"""LTX: text to video, image to video, conditions, and long videos of several prompts."""

from __future__ import annotations

from typing import Any

import diffusers
from families import sizes
from family_parts import TEXT_WIDTH, ltx_vae, t5, tokenizer

from small_pipelines.form import TEXTS, SmallPipeline, family, small
from small_pipelines.parts import film, image

CALL = {**TEXTS, **sizes("ltx"), "output_type": "latent"}
"""33 frames of 96 x 128 pixels are 5 x 3 x 4 tokens."""
FIRST, LATER = image(128, 96), image(128, 96, shift=16)


def _parts() -> dict[str, Any]:
    model = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=24,
        cross_attention_dim=48,
        num_layers=2,
        caption_channels=TEXT_WIDTH,
    )
    return {"vae": ltx_vae(), "text_encoder": t5(), "tokenizer": tokenizer(128), "transformer": model}


@small
def image_to_video() -> diffusers.LTXImageToVideoPipeline:
    """Build LTX I2V: the tokens of the first latent frame are the image's, at noise level 0."""
    solver = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return diffusers.LTXImageToVideoPipeline(scheduler=solver, **_parts())


@small
def condition() -> diffusers.LTXConditionPipeline:
    """Build LTX with images and videos at any place."""
    return diffusers.LTXConditionPipeline(scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), **_parts())


@small
def long_multi_prompt() -> diffusers.LTXI2VLongMultiPromptPipeline:
    """Build LTX for a long video of several prompts, denoised window after window."""
    return diffusers.LTXI2VLongMultiPromptPipeline(scheduler=diffusers.LTXEulerAncestralRFScheduler(), **_parts())


def conditions() -> list[Any]:
    """Return an image at the start, which takes the place of tokens, and a video later, whose tokens are added."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    later = LTXVideoCondition(video=film(9, 128, 96)(), frame_index=16, strength=0.5)
    return [LTXVideoCondition(image=FIRST(), frame_index=0), later]


_LONG = {**CALL, "prompt": "a red circle moves right | a blue square moves left", "num_frames": 65}
_LONG |= {"num_inference_steps": 3, "temporal_tile_size": 40, "temporal_overlap": 8}
_LONG |= {"decode_horizontal_tiles": 1, "decode_vertical_tiles": 1}

PIPELINES: dict[str, SmallPipeline] = {
    "LTXPipeline": family("ltx"),
    "LTXImageToVideoPipeline": SmallPipeline(build=image_to_video, call=CALL, inputs={"image": FIRST}),
    "LTXConditionPipeline": SmallPipeline(build=condition, call=CALL, inputs={"image": FIRST}),
    "LTXConditionPipeline-places": SmallPipeline(
        build=condition, call=CALL, inputs={"conditions": conditions}, note="24 tokens of the video in front"
    ),
    "LTXI2VLongMultiPromptPipeline": SmallPipeline(
        build=long_multi_prompt,
        call=_LONG,
        inputs={"cond_image": FIRST},
        seed="seed",
        note="two windows of five latent frames that share one; three steps are two",
    ),
}
