"""HunyuanVideo, from text and from images, and HunyuanVideo 1.5."""

from typing import Any

from released.release import DIFFUSERS, Released

SCRIPT = f"{DIFFUSERS}/scripts/convert_hunyuan_video_to_diffusers.py"
SCRIPT_15 = f"{DIFFUSERS}/scripts/convert_hunyuan_video1_5_to_diffusers.py"
FIRST: dict[str, Any] = {
    "model": "HunyuanVideoTransformer3DModel", "strides": (4, 8), "clip": (129, 720, 1280), "fps": 24,
    "latents": (33, 90, 160), "tokens": 118_800, "layers": {"joint": 60}, "heads": 24,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "num_attention_heads": 24, "attention_head_dim": 128, "num_layers": 20, "num_single_layers": 40,
    "num_refiner_layers": 2, "patch_size": 2, "patch_size_t": 1, "text_embed_dim": 4096, "pooled_projection_dim": 768,
    "rope_axes_dim": (16, 56, 56), "guidance_embeds": True,
}  # fmt: skip
CONFIG_15: dict[str, Any] = {
    "in_channels": 65, "out_channels": 32, "num_attention_heads": 16, "attention_head_dim": 128, "num_layers": 54,
    "num_refiner_layers": 2, "patch_size": 1, "patch_size_t": 1, "text_embed_dim": 3584, "text_embed_2_dim": 1472,
    "image_embed_dim": 1152, "rope_axes_dim": (16, 56, 56),
}  # fmt: skip


def _of_15(size: str, task: str, target: int, clip: tuple[int, int, int], rows: int, cols: int) -> Released:
    return Released(
        hub_ids=(f"hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-{size}_{task}",),
        source=SCRIPT_15,
        family="hunyuanvideo1.5",
        pipeline="HunyuanVideo15Pipeline" if task == "t2v" else "HunyuanVideo15ImageToVideoPipeline",
        model="HunyuanVideo15Transformer3DModel",
        config=CONFIG_15 | {"target_size": target, "task_type": task},
        strides=(4, 16),
        clip=clip,
        fps=24,
        latents=(31, rows, cols),
        tokens=31 * rows * cols,
        layers={"joint": 54},
        heads=16,
        billions=8.3,
    )


HUNYUAN = (
    Released(
        hub_ids=("hunyuanvideo-community/HunyuanVideo",),
        source=SCRIPT,
        family="hunyuanvideo",
        pipeline="HunyuanVideoPipeline",
        config=CONFIG,
        **FIRST,
        billions=13,
    ),
    Released(
        hub_ids=("hunyuanvideo-community/HunyuanVideo-I2V",),
        source=SCRIPT,
        family="hunyuanvideo-i2v",
        pipeline="HunyuanVideoImageToVideoPipeline",
        config=CONFIG | {"image_condition_type": "token_replace"},
        parts={"image_processor": object()},
        **FIRST,
        billions=13,
    ),
    Released(
        hub_ids=("lllyasviel/FramePackI2V_HY",),
        source="https://github.com/kohya-ss/musubi-tuner, which builds it for these weights and loads them strictly",
        family="framepack",
        pipeline="HunyuanVideoFramepackPipeline",
        config=CONFIG | {"has_image_proj": True, "image_proj_dim": 1152, "has_clean_x_embedder": True},
        **FIRST
        | {
            "model": "HunyuanVideoFramepackTransformer3DModel",
            "clip": (33, 720, 1280),
            "fps": 30,
            "latents": (9, 90, 160),
            "tokens": 32_400,
        },
        billions=13,
    ),
    _of_15("480p", "t2v", 640, (121, 480, 832), 30, 52),
    _of_15("720p", "t2v", 960, (121, 720, 1280), 45, 80),
    _of_15("480p", "i2v", 640, (121, 480, 832), 30, 52),
    _of_15("720p", "i2v", 960, (121, 720, 1280), 45, 80),
)
