"""LTX-Video, LTX-2, and CogVideoX."""

from types import SimpleNamespace
from typing import Any

from diffusers.configuration_utils import FrozenDict
from released.release import DIFFUSERS, Released

SCRIPT = f"{DIFFUSERS}/scripts/convert_ltx_to_diffusers.py"
SCRIPT_2 = f"{DIFFUSERS}/scripts/convert_ltx2_to_diffusers.py"
COGVIDEOX = f"{DIFFUSERS}/scripts/convert_cogvideox_to_diffusers.py"
OF_2B: dict[str, Any] = {
    "model": "LTXVideoTransformer3DModel", "strides": (8, 32), "clip": (161, 512, 704), "fps": 25,
    "latents": (21, 16, 22), "tokens": 7_392, "layers": {"self": 28, "cross": 28}, "heads": 32,
}  # fmt: skip
CONFIG_2B: dict[str, Any] = {
    "in_channels": 128, "num_attention_heads": 32, "attention_head_dim": 64, "cross_attention_dim": 2048,
    "num_layers": 28, "caption_channels": 4096,
}  # fmt: skip
CONFIG_13B: dict[str, Any] = CONFIG_2B | {"attention_head_dim": 128, "cross_attention_dim": 4096, "num_layers": 48}
OF_LTX2: dict[str, Any] = {
    "pipeline": "LTX2Pipeline", "model": "LTX2VideoTransformer3DModel", "strides": (8, 32), "clip": (121, 512, 768),
    "fps": 24, "latents": (16, 16, 24), "tokens": 6_144, "layers": {"self": 48}, "heads": 32, "source": SCRIPT_2,
}  # fmt: skip
LTX2: dict[str, Any] = {
    "in_channels": 128, "num_attention_heads": 32, "attention_head_dim": 128, "cross_attention_dim": 4096,
    "audio_num_attention_heads": 32, "audio_attention_head_dim": 64, "audio_cross_attention_dim": 2048,
    "num_layers": 48, "caption_channels": 3840, "rope_type": "split", "use_prompt_embeddings": True,
}  # fmt: skip
LTX23: dict[str, Any] = LTX2 | {
    "gated_attn": True, "cross_attn_mod": True, "audio_gated_attn": True, "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False, "perturbed_attn": True,
}  # fmt: skip
FIVE_LEVELS = SimpleNamespace(config=FrozenDict(block_out_channels=(128, 256, 512, 1024, 2048)))
FOUR_LEVELS = SimpleNamespace(config=FrozenDict(block_out_channels=(128, 256, 512, 512)))
COGVIDEO: dict[str, Any] = {
    "source": COGVIDEOX, "model": "CogVideoXTransformer3DModel", "strides": (4, 8), "clip": (49, 480, 720), "fps": 8,
    "latents": (13, 60, 90), "tokens": 17_550,
}  # fmt: skip
COGVIDEO_15: dict[str, Any] = COGVIDEO | {
    "clip": (81, 768, 1360), "fps": 16, "latents": (22, 96, 170), "tokens": 44_880,
}  # fmt: skip
LARGE: dict[str, Any] = {"num_layers": 42, "num_attention_heads": 48, "use_rotary_positional_embeddings": True}
LARGE_15: dict[str, Any] = LARGE | {
    "patch_size_t": 2, "patch_bias": False, "sample_height": 300, "sample_width": 300, "sample_frames": 81,
}  # fmt: skip
OF_5B: dict[str, Any] = {"layers": {"joint": 42}, "heads": 48, "billions": 5, "within": 0.12}

LTX = (
    Released(
        hub_ids=("Lightricks/LTX-Video",),
        source=SCRIPT,
        family="ltx",
        pipeline="LTXPipeline",
        config=CONFIG_2B,
        parts={"vae": FOUR_LEVELS},
        **OF_2B,
        billions=1.9,
    ),
    Released(
        hub_ids=("Lightricks/LTX-Video-0.9.5",),
        source=SCRIPT,
        family="ltx-0.9.5",
        pipeline="LTXConditionPipeline",
        config=CONFIG_2B,
        parts={"vae": FIVE_LEVELS},
        **OF_2B,
        billions=1.9,
    ),
    Released(
        hub_ids=(
            "Lightricks/LTX-Video-0.9.7-dev",
            "Lightricks/LTX-Video-0.9.7-distilled",
            "Lightricks/LTX-Video-0.9.8-13B-distilled",
        ),
        source=SCRIPT,
        family="ltx-13b",
        pipeline="LTXConditionPipeline",
        config=CONFIG_13B,
        parts={"vae": FIVE_LEVELS},
        **OF_2B
        | {
            "clip": (121, 704, 1216),
            "fps": 30,
            "latents": (16, 22, 38),
            "tokens": 13_376,
            "layers": {"self": 48, "cross": 48},
        },
        billions=13,
    ),
    Released(hub_ids=("Lightricks/LTX-2",), family="ltx2", config=LTX2, **OF_LTX2, billions=19),
    Released(hub_ids=("diffusers/LTX-2.3-Diffusers",), family="ltx2.3", config=LTX23, **OF_LTX2),
    Released(
        hub_ids=("Lightricks/LTX-2.5-Diffusers",),
        family="ltx2.5",
        config=LTX23 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True},
        **OF_LTX2,
    ),
    Released(
        hub_ids=("THUDM/CogVideoX-2b",),
        family="cogvideox",
        pipeline="CogVideoXPipeline",
        config={"num_layers": 30, "num_attention_heads": 30, "use_rotary_positional_embeddings": False},
        **COGVIDEO,
        layers={"joint": 30},
        heads=30,
        billions=2,
        within=0.16,
    ),
    Released(
        hub_ids=("THUDM/CogVideoX-5b",),
        family="cogvideox",
        pipeline="CogVideoXPipeline",
        config=LARGE,
        **COGVIDEO,
        **OF_5B,
    ),
    Released(
        hub_ids=("THUDM/CogVideoX-5b-I2V",),
        family="cogvideox-i2v",
        pipeline="CogVideoXImageToVideoPipeline",
        config=LARGE | {"in_channels": 32, "use_learned_positional_embeddings": True},
        **COGVIDEO,
        **OF_5B,
    ),
    Released(
        hub_ids=("THUDM/CogVideoX1.5-5B",),
        family="cogvideox1.5",
        pipeline="CogVideoXPipeline",
        config=LARGE_15,
        **COGVIDEO_15,
        **OF_5B,
    ),
    Released(
        hub_ids=("THUDM/CogVideoX1.5-5B-I2V",),
        family="cogvideox1.5-i2v",
        pipeline="CogVideoXImageToVideoPipeline",
        config=LARGE_15 | {"in_channels": 32, "ofs_embed_dim": 512},
        **COGVIDEO_15,
        **OF_5B,
    ),
)
