"""Stable Video Diffusion, AnimateDiff and I2VGen-XL."""

from typing import Any

from released.release import DIFFUSERS, Released

STABILITY = "https://github.com/Stability-AI/generative-models/blob/main/scripts/sampling/configs"
SVD: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280), "num_attention_heads": (5, 10, 20, 20), "cross_attention_dim": 1024,
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 768,
}  # fmt: skip
OF_UNET: dict[str, Any] = {"component": "unet", "heads": None}
OF_SVD: dict[str, Any] = OF_UNET | {
    "pipeline": "StableVideoDiffusionPipeline", "model": "UNetSpatioTemporalConditionModel", "strides": (1, 8),
    "fps": 7, "layers": {"temporal": 16, "spatial": 16, "cross": 16},
}  # fmt: skip

UNETS = (
    Released(
        hub_ids=("stabilityai/stable-video-diffusion-img2vid",),
        source=f"{STABILITY}/svd.yaml",
        family="svd",
        config=SVD | {"num_frames": 14},
        **OF_SVD,
        clip=(14, 576, 1024),
        latents=(14, 72, 128),
        tokens=129_024,
    ),
    Released(
        hub_ids=("stabilityai/stable-video-diffusion-img2vid-xt",),
        source=f"{STABILITY}/svd_xt.yaml",
        family="svd-xt",
        config=SVD | {"num_frames": 25},
        **OF_SVD,
        clip=(25, 576, 1024),
        latents=(25, 72, 128),
        tokens=230_400,
    ),
    Released(
        hub_ids=("guoyww/animatediff-motion-adapter-v1-5-3",),
        source="https://huggingface.co/guoyww/animatediff-motion-adapter-v1-5-3, as a public test quotes it",
        family="animatediff",
        pipeline="AnimateDiffPipeline",
        model="UNetMotionModel",
        config={"use_motion_mid_block": False, "motion_max_seq_length": 32, "cross_attention_dim": 768},
        **OF_UNET,
        strides=(1, 8),
        clip=(16, 512, 512),
        fps=8,
        latents=(16, 64, 64),
        tokens=65_536,
        layers={"temporal": 40, "spatial": 16, "cross": 16},
    ),
    Released(
        hub_ids=("ali-vilab/i2vgen-xl",),
        source=f"{DIFFUSERS}/scripts/convert_i2vgen_to_diffusers.py",
        family="i2vgen-xl",
        pipeline="I2VGenXLPipeline",
        model="I2VGenXLUNet",
        config={"sample_size": 32},
        **OF_UNET,
        strides=(1, 8),
        clip=(16, 704, 1280),
        fps=16,
        latents=(16, 88, 160),
        tokens=225_280,
        layers={"temporal": 34, "spatial": 16, "cross": 16},
    ),
)
