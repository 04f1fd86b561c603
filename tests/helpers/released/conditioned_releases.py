"""Wan and SkyReels-V2 from images, videos and controls."""

from typing import Any

from released.release import Released
from released.wan_releases import LARGE, LARGE_720, SCRIPT, SKYREELS, SKYREELS_540, SMALL, SMALL_480

FROM_IMAGE: dict[str, Any] = LARGE | {"in_channels": 36}
WITH_CLIP: dict[str, Any] = FROM_IMAGE | {"image_dim": 1280, "added_kv_proj_dim": 5120}

CONDITIONED = (
    Released(
        hub_ids=("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"),
        source=SCRIPT,
        family="wan-i2v",
        pipeline="WanImageToVideoPipeline",
        config=WITH_CLIP,
        **LARGE_720,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",),
        source=SCRIPT,
        family="wan-flf2v",
        pipeline="WanImageToVideoPipeline",
        config=WITH_CLIP | {"pos_embed_seq_len": 514},
        **LARGE_720,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.2-I2V-A14B-Diffusers",),
        source=SCRIPT,
        family="wan2.2-i2v",
        pipeline="WanImageToVideoPipeline",
        config=FROM_IMAGE,
        settings={"boundary_ratio": 0.9},
        experts=2,
        **LARGE_720,
        billions=28,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.1-VACE-1.3B-diffusers",),
        source=SCRIPT,
        family="wan-vace",
        pipeline="WanVACEPipeline",
        config=SMALL | {"vace_layers": list(range(0, 30, 2)), "vace_in_channels": 96},
        **SMALL_480 | {"model": "WanVACETransformer3DModel", "layers": {"self": 45, "cross": 45}},
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.1-VACE-14B-diffusers",),
        source=SCRIPT,
        family="wan-vace",
        pipeline="WanVACEPipeline",
        config=LARGE | {"vace_layers": list(range(0, 40, 5)), "vace_in_channels": 96},
        **LARGE_720 | {"model": "WanVACETransformer3DModel", "layers": {"self": 48, "cross": 48}},
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.2-Animate-14B-Diffusers",),
        source=SCRIPT,
        family="wan-animate",
        pipeline="WanAnimatePipeline",
        config=WITH_CLIP | {"out_channels": 16},
        **LARGE_720
        | {
            "model": "WanAnimateTransformer3DModel",
            "clip": (77, 720, 1280),
            "fps": 30,
            "latents": (20, 90, 160),
            "tokens": 72_000,
        },
    ),
    Released(
        hub_ids=("Skywork/SkyReels-V2-I2V-14B-540P-Diffusers",),
        source=SKYREELS,
        family="skyreels-v2-i2v",
        pipeline="SkyReelsV2ImageToVideoPipeline",
        config=WITH_CLIP,
        **SKYREELS_540,
        layers={"self": 40, "cross": 40},
        heads=40,
    ),
    Released(
        hub_ids=("decart-ai/Lucy-Edit-Dev",),
        source="https://huggingface.co/decart-ai/Lucy-Edit-Dev, as an audit of diffusers' pipelines quotes it",
        family="lucy-edit",
        pipeline="LucyEditPipeline",
        model="WanTransformer3DModel",
        config={"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 96, "out_channels": 48},
        settings={"expand_timesteps": True},
        strides=(4, 16),
        clip=(81, 480, 832),
        fps=24,
        latents=(21, 30, 52),
        tokens=8_190,
        layers={"self": 30, "cross": 30},
        heads=24,
        billions=5.0,
    ),
)
