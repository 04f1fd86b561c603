"""Allegro, Latte, EasyAnimate, and Mochi, which ``families`` builds."""

from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from families import NEGATIVE, PROMPT
from family_parts import TEXT_WIDTH, image_vae, t5, tokenizer
from torch import Tensor

from small_pipelines.form import SmallPipeline, family, small
from small_pipelines.parts import chat_tokenizer, qwen25_vl

_TEXTS = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 6.0}
_CALL = {**_TEXTS, "height": 48, "width": 64, "num_inference_steps": 2, "output_type": "latent"}


@small
def allegro() -> DiffusionPipeline:
    """Allegro: rotary positions made by the pipeline; its autoencoder decodes in tiles only."""
    vae = diffusers.AutoencoderKLAllegro(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=2
    )
    vae.enable_tiling()
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        cross_attention_dim=48,
        sample_width=8,
        sample_height=6,
        sample_frames=5,
        caption_channels=TEXT_WIDTH,
    )
    scheduler = diffusers.EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear", beta_end=0.012)
    return diffusers.AllegroPipeline(
        tokenizer=tokenizer(512), text_encoder=t5(), vae=vae, transformer=transformer, scheduler=scheduler
    )


@small
def latte() -> DiffusionPipeline:
    """Latte: space and time in blocks of their own, and a table of positions for 16 frames exactly."""
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=32,
        caption_channels=TEXT_WIDTH,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=16,
    )
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False)
    return diffusers.LattePipeline(
        tokenizer=tokenizer(512), text_encoder=t5(), vae=image_vae(), transformer=transformer, scheduler=scheduler
    )


@small
def easyanimate() -> DiffusionPipeline:
    """EasyAnimate (text to video): 256 text tokens before the video, always."""
    return diffusers.EasyAnimatePipeline(**_easyanimate(4))


@small
def easyanimate_control() -> DiffusionPipeline:
    """EasyAnimate with a control video in further channels, which diffusers cannot run."""
    return diffusers.EasyAnimateControlPipeline(**_easyanimate(3 * 4))


@small
def easyanimate_inpaint() -> DiffusionPipeline:
    """EasyAnimate that fills the masked part of a video, whose mask and latents are further channels.

    The switch of the released checkpoints, ``resize_inpaint_mask_directly``, asks the autoencoder for a configuration
    (``cache_mag_vae``) that its class has not got.
    """
    return diffusers.EasyAnimateInpaintPipeline(**_easyanimate(3 * 4, resize_inpaint_mask_directly=False))


def _easyanimate(channels: int, **changes: Any) -> dict[str, Any]:
    vae = diffusers.AutoencoderKLMagvit(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types=("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        spatial_group_norm=False,
    )
    transformer = diffusers.EasyAnimateTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=4,
        patch_size=2,
        num_layers=2,
        mmdit_layers=1,
        time_embed_dim=16,
        text_embed_dim=TEXT_WIDTH,
        sample_width=8,
        sample_height=6,
        **changes,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    words = {"text_encoder": qwen25_vl(), "tokenizer": chat_tokenizer(512)}
    return {**words, "vae": vae, "transformer": transformer, "scheduler": scheduler}


def _video() -> Tensor:
    return torch.rand(1, 3, 17, 48, 64, generator=torch.Generator("cpu").manual_seed(0))


def _right_half() -> Tensor:
    """Return the mask of a video: 255 where it is to be filled."""
    mask = torch.zeros(1, 1, 17, 48, 64)
    mask[..., 32:] = 255
    return mask


PIPELINES: dict[str, SmallPipeline] = {
    "MochiPipeline": family("mochi"),
    "AllegroPipeline": SmallPipeline(
        build=allegro, call={**_CALL, "num_frames": 17, "max_sequence_length": 16, "clean_caption": False}
    ),
    "LattePipeline": SmallPipeline(build=latte, call={**_CALL, "video_length": 16, "clean_caption": False}),
    "EasyAnimatePipeline": SmallPipeline(build=easyanimate, call={**_CALL, "num_frames": 17}),
    "EasyAnimateInpaintPipeline": SmallPipeline(
        build=easyanimate_inpaint,
        call={**_CALL, "num_frames": 17},
        inputs={"video": _video, "mask_video": _right_half},
    ),
}
