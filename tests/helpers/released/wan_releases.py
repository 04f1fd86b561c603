"""Wan 2.1 and 2.2 from text, and SkyReels-V2."""

from typing import Any

from released.release import DIFFUSERS, Released

SCRIPT = f"{DIFFUSERS}/scripts/convert_wan_to_diffusers.py"
SKYREELS = f"{DIFFUSERS}/scripts/convert_skyreelsv2_to_diffusers.py"
SMALL: dict[str, Any] = {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
LARGE: dict[str, Any] = {"num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824}
SMALL_480: dict[str, Any] = {
    "model": "WanTransformer3DModel", "strides": (4, 8), "clip": (81, 480, 832), "fps": 16, "latents": (21, 60, 104),
    "tokens": 32_760, "layers": {"self": 30, "cross": 30}, "heads": 12,
}  # fmt: skip
LARGE_720: dict[str, Any] = {
    "model": "WanTransformer3DModel", "strides": (4, 8), "clip": (81, 720, 1280), "fps": 16, "latents": (21, 90, 160),
    "tokens": 75_600, "layers": {"self": 40, "cross": 40}, "heads": 40,
}  # fmt: skip
SKYREELS_540: dict[str, Any] = {
    "model": "SkyReelsV2Transformer3DModel", "strides": (4, 8), "clip": (97, 544, 960), "fps": 24,
    "latents": (25, 68, 120), "tokens": 51_000,
}  # fmt: skip

WAN = (
    Released(
        hub_ids=("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",),
        source=SCRIPT,
        family="wan",
        pipeline="WanPipeline",
        config=SMALL,
        **SMALL_480,
        billions=1.3,
        within=0.1,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.1-T2V-14B-Diffusers",),
        source=SCRIPT,
        family="wan",
        pipeline="WanPipeline",
        config=LARGE,
        **LARGE_720,
        billions=14,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.2-T2V-A14B-Diffusers",),
        source=SCRIPT,
        family="wan2.2",
        pipeline="WanPipeline",
        config=LARGE,
        settings={"boundary_ratio": 0.875},
        experts=2,
        **LARGE_720,
        billions=28,
    ),
    Released(
        hub_ids=("Wan-AI/Wan2.2-TI2V-5B-Diffusers",),
        source=SCRIPT,
        family="wan2.2-5b",
        pipeline="WanPipeline",
        model="WanTransformer3DModel",
        config={"num_attention_heads": 24, "num_layers": 30, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48},
        settings={"expand_timesteps": True},
        strides=(4, 16),
        clip=(121, 704, 1280),
        fps=24,
        latents=(31, 44, 80),
        tokens=27_280,
        layers={"self": 30, "cross": 30},
        heads=24,
        billions=5,
    ),
    Released(
        hub_ids=("Skywork/SkyReels-V2-T2V-14B-540P-Diffusers",),
        source=SKYREELS,
        family="skyreels-v2",
        pipeline="SkyReelsV2Pipeline",
        config=LARGE,
        **SKYREELS_540,
        layers={"self": 40, "cross": 40},
        heads=40,
        billions=14,
    ),
    Released(
        hub_ids=("Skywork/SkyReels-V2-DF-14B-540P-Diffusers", "Skywork/SkyReels-V2-DF-14B-720P-Diffusers"),
        source=SKYREELS,
        family="skyreels-v2-df",
        pipeline="SkyReelsV2DiffusionForcingPipeline",
        config=LARGE,
        **SKYREELS_540,
        layers={"self": 40, "cross": 40},
        heads=40,
        billions=14,
    ),
    Released(
        hub_ids=("Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",),
        source=SKYREELS,
        family="skyreels-v2-df",
        pipeline="SkyReelsV2DiffusionForcingPipeline",
        config=SMALL | {"inject_sample_info": True},
        **SKYREELS_540,
        layers={"self": 30, "cross": 30},
        heads=12,
        billions=1.3,
        within=0.11,
    ),
)
