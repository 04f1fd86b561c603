"""A tiny pipeline with random weights of every supported family, and what its attention looks like.

Each is the real diffusers pipeline class around small modules, made without a download and the same each time; one
run takes well under a second. Heads are 16 to 32 channels wide, token grids are not square, every text encoder tells
any two texts apart. ``family_facts`` says what the attention of each looks like.

    pipe = FAMILIES["wan"]()
    latents = pipe(**call_arguments("wan")).frames
"""

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from family_parts import (
    TEXT_WIDTH,
    clip,
    cogvideox_vae,
    hunyuan_vae,
    image_vae,
    llama,
    llama_tokenizer,
    ltx_vae,
    mochi_vae,
    seeded,
    t5,
    tokenizer,
    umt5,
    wan22_vae,
    wan_vae,
)

PROMPT = "a red circle moves right"
NEGATIVE = "blue"
TEXT = 16
"""Longest text in tokens; HunyuanVideo, which keeps a part of its template, has twice as many."""


def _wan_transformer(channels: int = 4) -> diffusers.WanTransformer3DModel:
    return diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=64,
        num_layers=3,
        rope_max_seq_len=256,
    ).eval()


def _unipc() -> diffusers.UniPCMultistepScheduler:
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, num_train_timesteps=1000
    )


@seeded
def wan() -> DiffusionPipeline:
    """Wan 2.1: three blocks."""
    return diffusers.WanPipeline(
        tokenizer=tokenizer(512),
        text_encoder=umt5(),
        vae=wan_vae(),
        scheduler=_unipc(),
        transformer=_wan_transformer(),
    )


@seeded
def wan22() -> DiffusionPipeline:
    """Wan 2.2: the second expert takes over after the first step."""
    return diffusers.WanPipeline(
        tokenizer=tokenizer(512),
        text_encoder=umt5(),
        vae=wan_vae(),
        scheduler=_unipc(),
        transformer=_wan_transformer(),
        transformer_2=_wan_transformer(),
        boundary_ratio=0.9,
    )


@seeded
def wan22_5b() -> DiffusionPipeline:
    """Wan 2.2 TI2V-5B: 48 channels of 16 x 16 pixels, a noise level for each token."""
    return diffusers.WanPipeline(
        tokenizer=tokenizer(512),
        text_encoder=umt5(),
        vae=wan22_vae(),
        scheduler=_unipc(),
        transformer=_wan_transformer(48),
        expand_timesteps=True,
    )


@seeded
def hunyuan() -> DiffusionPipeline:
    """HunyuanVideo: two double blocks, two single blocks, two blocks that refine the text."""
    return diffusers.HunyuanVideoPipeline(
        text_encoder=llama(),
        tokenizer=llama_tokenizer(),
        transformer=diffusers.HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=32,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=2,
            mlp_ratio=2.0,
            text_embed_dim=TEXT_WIDTH,
            pooled_projection_dim=TEXT_WIDTH,
            rope_axes_dim=(8, 12, 12),
        ).eval(),
        vae=hunyuan_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip(77),
        tokenizer_2=tokenizer(77, start=True),
    )


def _cogvideox(**changes: Any) -> DiffusionPipeline:
    return diffusers.CogVideoXPipeline(
        tokenizer=tokenizer(226),
        text_encoder=t5(),
        vae=cogvideox_vae(),
        transformer=diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=32,
            in_channels=4,
            out_channels=4,
            time_embed_dim=32,
            text_embed_dim=TEXT_WIDTH,
            num_layers=3,
            sample_width=8,
            sample_height=6,
            max_text_seq_length=TEXT,
            **{"sample_frames": 17, "use_rotary_positional_embeddings": True, **changes},
        ).eval(),
        scheduler=diffusers.CogVideoXDDIMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
        ),
    )


@seeded
def cogvideox() -> DiffusionPipeline:
    """CogVideoX with rotary positions, as the 5B model has them: three blocks."""
    return _cogvideox()


@seeded
def cogvideox15() -> DiffusionPipeline:
    """CogVideoX 1.5: two latent frames share a token."""
    return _cogvideox(patch_size_t=2, patch_bias=False, sample_frames=81)


@seeded
def ltx() -> DiffusionPipeline:
    """LTX: three blocks, latents packed to tokens."""
    return diffusers.LTXPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=ltx_vae(),
        text_encoder=t5(),
        tokenizer=tokenizer(128),
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=32,
            cross_attention_dim=64,
            num_layers=3,
            caption_channels=TEXT_WIDTH,
        ).eval(),
    )


@seeded
def mochi() -> DiffusionPipeline:
    """Mochi: three blocks, the last of which does not update the text."""
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        num_layers=3,
        pooled_projection_dim=32,
        in_channels=12,
        text_embed_dim=TEXT_WIDTH,
        time_embed_dim=32,
    ).eval()
    # The rotary frequencies are learned and begin at 0, which would make the model blind to positions.
    torch.nn.init.normal_(transformer.pos_frequencies, std=0.1)
    return diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=mochi_vae(),
        text_encoder=t5(),
        tokenizer=tokenizer(256),
        transformer=transformer,
    )


@seeded
def animatediff() -> DiffusionPipeline:
    """AnimateDiff: an image UNet of two levels, made into a video UNet by a motion adapter."""
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=2,
        norm_num_groups=8,
        sample_size=8,
    ).eval()
    adapter = diffusers.MotionAdapter(
        block_out_channels=(32, 64),
        motion_layers_per_block=1,
        motion_norm_num_groups=8,
        motion_num_attention_heads=2,
        motion_max_seq_length=32,
    ).eval()
    return diffusers.AnimateDiffPipeline(
        vae=image_vae(),
        text_encoder=clip(TEXT),
        tokenizer=tokenizer(TEXT, start=True),
        unet=unet,
        motion_adapter=adapter,
        scheduler=diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False, timestep_spacing="linspace"),
    )


@seeded
def text_to_video_sd() -> DiffusionPipeline:
    """ModelScope's UNet of two levels. What its config calls ``attention_head_dim`` is the width of a head."""
    return diffusers.TextToVideoSDPipeline(
        vae=image_vae(),
        text_encoder=clip(TEXT),
        tokenizer=tokenizer(TEXT, start=True),
        unet=diffusers.UNet3DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=16,
            norm_num_groups=8,
            sample_size=8,
        ).eval(),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
    )


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "wan": wan,
    "wan22": wan22,
    "hunyuan": hunyuan,
    "cogvideox": cogvideox,
    "ltx": ltx,
    "mochi": mochi,
    "animatediff": animatediff,
    "text_to_video_sd": text_to_video_sd,
}

VARIANTS: dict[str, Callable[[], DiffusionPipeline]] = {"wan22_5b": wan22_5b, "cogvideox15": cogvideox15}
"""Checkpoints of a pipeline class above that only their configuration tells apart."""

_CLIP = {"num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 2, "max_sequence_length": TEXT}
_FRAMES = {"num_frames": 8, "height": 48, "width": 64, "num_inference_steps": 2}
_SIZES: dict[str, dict[str, Any]] = {
    "wan": {**_CLIP, "guidance_scale": 5.0},
    "wan22": {**_CLIP, "num_inference_steps": 3, "guidance_scale": 5.0, "guidance_scale_2": 3.0},
    "wan22_5b": {**_CLIP, "height": 96, "width": 128, "guidance_scale": 5.0},
    "cogvideox15": {**_CLIP, "guidance_scale": 6.0},
    "hunyuan": {**_CLIP, "guidance_scale": 6.0, "true_cfg_scale": 2.0, "max_sequence_length": 2 * TEXT},
    "cogvideox": {**_CLIP, "guidance_scale": 6.0},
    "ltx": {**_CLIP, "num_frames": 33, "height": 96, "width": 128, "guidance_scale": 3.0},
    "mochi": {**_CLIP, "num_frames": 25, "guidance_scale": 4.5},
    "animatediff": {**_FRAMES, "guidance_scale": 7.5},
    "text_to_video_sd": {**_FRAMES, "guidance_scale": 9.0},
}


def sizes(name: str) -> dict[str, Any]:
    """Frames, height, width, steps, guidance and length of text for one small run of a family."""
    return dict(_SIZES[name])


def call_arguments(name: str, *, seed: int = 7, output_type: str = "latent", **changes: Any) -> dict[str, Any]:
    """Everything that ``pipe(**...)`` needs for one small run, guided; ``changes`` replaces or adds arguments.

    The generator is fresh in every answer, so ask anew for every run.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    texts = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
    return {**texts, **sizes(name), "generator": generator, "output_type": output_type, **changes}
