"""AnimateDiff: from text, from video, with control images, with SDXL, with PAG; and PIA, which starts from an image."""

from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from families import FAMILIES, NEGATIVE, PROMPT, TEXT
from family_parts import TEXT_WIDTH, clip, tokenizer
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from small_pipelines.form import SmallPipeline, family, small
from small_pipelines.parts import film, image

_STEPS = {"num_inference_steps": 2, "guidance_scale": 7.5, "output_type": "latent"}
_FROM_VIDEO = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "height": 48, "width": 64, **_STEPS}
_CALL = {**_FROM_VIDEO, "num_frames": 8}
LEVELS = {"block_out_channels": (32, 64), "layers_per_block": 1, "cross_attention_dim": TEXT_WIDTH}
"""Two levels of one layer, as the UNet of ``families`` has them."""


def unet(**changes: Any) -> diffusers.UNet2DConditionModel:
    """Return an image UNet of two levels, attention in the first."""
    sizes = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "norm_num_groups": 8,
        "sample_size": 8,
    }
    return diffusers.UNet2DConditionModel(**{**LEVELS, **sizes, **changes})


def sdxl_unet() -> diffusers.UNet2DConditionModel:
    """Return the UNet of SDXL: attention in the second level, sizes and pooled text beside the time."""
    return unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + TEXT_WIDTH,
        cross_attention_dim=2 * TEXT_WIDTH,
    )


def sdxl_texts() -> dict[str, Any]:
    """Return the two tokenizers and text encoders of SDXL; both are read before their last layer."""
    config = clip(TEXT).config.to_dict()
    return {
        "text_encoder": clip(TEXT),
        "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**{**config, "projection_dim": TEXT_WIDTH})),
        "tokenizer": tokenizer(TEXT, start=True),
        "tokenizer_2": tokenizer(TEXT, start=True),
    }


def _adapter(**changes: Any) -> diffusers.MotionAdapter:
    sizes = {"motion_layers_per_block": 1, "motion_norm_num_groups": 8, "motion_num_attention_heads": 2}
    return diffusers.MotionAdapter(block_out_channels=LEVELS["block_out_channels"], **{**sizes, **changes})


def _controlnet() -> diffusers.ControlNetModel:
    return diffusers.ControlNetModel(
        **LEVELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        attention_head_dim=2,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 8, 8, 8),
    )


def _sparse_controlnet() -> diffusers.SparseControlNetModel:
    """Return SparseCtrl for pictures: it takes their latents, and masks of the frames that have one."""
    return diffusers.SparseControlNetModel(
        **LEVELS,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        attention_head_dim=2,
        norm_num_groups=8,
        motion_num_attention_heads=2,
    )


def _animatediff(pipeline: str, **parts: Any) -> DiffusionPipeline:
    """Return the parts of AnimateDiff in another of its pipelines."""
    return getattr(diffusers, pipeline)(**{**FAMILIES["animatediff"]().components, **parts})


@small
def video_to_video() -> DiffusionPipeline:
    """AnimateDiff from the noised latents of a video."""
    return _animatediff("AnimateDiffVideoToVideoPipeline")


@small
def controlnet() -> DiffusionPipeline:
    """AnimateDiff with a control image for each frame."""
    return _animatediff("AnimateDiffControlNetPipeline", controlnet=_controlnet())


@small
def video_to_video_controlnet() -> DiffusionPipeline:
    """AnimateDiff from a video, with a control image for each frame."""
    return _animatediff("AnimateDiffVideoToVideoControlNetPipeline", controlnet=_controlnet())


@small
def sparse_control() -> DiffusionPipeline:
    """AnimateDiff with pictures for some of the frames."""
    return _animatediff("AnimateDiffSparseControlNetPipeline", controlnet=_sparse_controlnet())


@small
def pag() -> DiffusionPipeline:
    """AnimateDiff with perturbed attention: the middle block has processors of its own while it runs."""
    return _animatediff("AnimateDiffPAGPipeline")


@small
def sdxl() -> DiffusionPipeline:
    """AnimateDiff of SDXL: two text encoders; the middle block has no motion module."""
    parts = FAMILIES["animatediff"]().components
    return diffusers.AnimateDiffSDXLPipeline(
        vae=parts["vae"],
        scheduler=parts["scheduler"],
        unet=sdxl_unet(),
        motion_adapter=_adapter(use_motion_mid_block=False),
        **sdxl_texts(),
    )


@small
def pia() -> DiffusionPipeline:
    """PIA: AnimateDiff whose UNet has the image and a mask in five further channels."""
    parts = FAMILIES["animatediff"]().components
    return diffusers.PIAPipeline(**{**parts, "unet": unet(in_channels=4 + 5), "motion_adapter": _adapter()})


_STILLS = {"conditioning_frames": film(8)}

PIPELINES: dict[str, SmallPipeline] = {
    "AnimateDiffPipeline": family("animatediff"),
    "AnimateDiffVideoToVideoPipeline": SmallPipeline(
        build=video_to_video, call={**_FROM_VIDEO, "num_inference_steps": 3}, inputs={"video": film(8)}
    ),
    "AnimateDiffControlNetPipeline": SmallPipeline(build=controlnet, call=_CALL, inputs=_STILLS),
    "AnimateDiffVideoToVideoControlNetPipeline": SmallPipeline(
        build=video_to_video_controlnet,
        call={**_FROM_VIDEO, "num_inference_steps": 3},
        inputs={"video": film(8), **_STILLS},
    ),
    "AnimateDiffSparseControlNetPipeline": SmallPipeline(
        build=sparse_control,
        call={**_CALL, "controlnet_frame_indices": [0, 5]},
        inputs={"conditioning_frames": film(2)},
        draws_globally=True,
    ),
    "AnimateDiffPAGPipeline": SmallPipeline(build=pag, call={**_CALL, "pag_scale": 3.0}),
    "AnimateDiffSDXLPipeline": SmallPipeline(build=sdxl, call=_CALL),
    "PIAPipeline": SmallPipeline(build=pia, call=_CALL, inputs={"image": image()}),
}
