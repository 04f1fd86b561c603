"""SANA-Video and SANA-WM, whose attention over the video is linear in all blocks or in most of them."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
from families import TEXT
from family_parts import TEXT_WIDTH, wan_vae

from small_pipelines.form import TEXTS, SmallPipeline, small
from small_pipelines.ltx2 import LATENTS, video_vae
from small_pipelines.parts import chat_tokenizer, gemma2, image
from small_pipelines.wan import LATENTS as WAN_LATENTS

CALL = {**TEXTS, "num_inference_steps": 2, "guidance_scale": 4.5, "max_sequence_length": TEXT, "output_type": "latent"}
VIDEO = {**CALL, "frames": 17, "height": 64, "width": 96, "use_resolution_binning": False}
VIDEO |= {"complex_human_instruction": None}
FRAMES = 33
WORLD = {**CALL, "num_frames": FRAMES, "height": 96, "width": 128, "chi_prompt": ["a"], "intrinsics": [96, 96, 64, 48]}


def text_parts() -> dict[str, Any]:
    """Return tokenizer and text encoder."""
    return {"tokenizer": chat_tokenizer(512, start=True), "text_encoder": gemma2()}


def _video_transformer() -> diffusers.SanaVideoTransformer3DModel:
    return diffusers.SanaVideoTransformer3DModel(
        in_channels=WAN_LATENTS,
        out_channels=WAN_LATENTS,
        num_attention_heads=2,
        attention_head_dim=24,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=24,
        cross_attention_dim=48,
        caption_channels=TEXT_WIDTH,
        rope_max_seq_len=32,
    )


@small
def video() -> diffusers.SanaVideoPipeline:
    """Build SANA-Video from text: every attention over the video is linear."""
    solver = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
    )
    return diffusers.SanaVideoPipeline(
        **text_parts(), vae=wan_vae(), transformer=_video_transformer(), scheduler=solver
    )


@small
def image_to_video() -> diffusers.SanaImageToVideoPipeline:
    """Build SANA-Video from an image, which is the first latent frame."""
    solver = diffusers.FlowMatchEulerDiscreteScheduler(shift=8.0)
    return diffusers.SanaImageToVideoPipeline(
        **text_parts(), vae=wan_vae(), transformer=_video_transformer(), scheduler=solver
    )


@small
def world_model() -> diffusers.SanaWMPipeline:
    """Build SANA-WM: every second of four blocks has softmax attention, once for the video and once for the camera."""
    model = diffusers.SanaWMTransformer3DModel(
        in_channels=LATENTS,
        num_layers=4,
        hidden_size=48,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=24,
        chunk_plucker_post_attn_blocks=4,
        caption_channels=TEXT_WIDTH,
    )
    solver = diffusers.FlowMatchEulerDiscreteScheduler(shift=8.0)
    return diffusers.SanaWMPipeline(**text_parts(), vae=video_vae(), transformer=model, scheduler=solver)


def camera() -> np.ndarray:
    """Return a camera that moves forward: a pose [4, 4] for each frame."""
    poses = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    poses[:, 2, 3] = np.linspace(0, 1, FRAMES)
    return poses


PIPELINES: dict[str, SmallPipeline] = {
    "SanaVideoPipeline": SmallPipeline(build=video, call=VIDEO),
    "SanaImageToVideoPipeline": SmallPipeline(build=image_to_video, call=VIDEO, inputs={"image": image(96, 64)}),
    "SanaWMPipeline": SmallPipeline(build=world_model, call=WORLD, inputs={"image": image(128, 96), "c2w": camera}),
}
