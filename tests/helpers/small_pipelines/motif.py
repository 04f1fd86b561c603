"""Motif: text to video and image to video, with and without the decoder blocks of the released checkpoint."""

from functools import partial
from typing import Any

import diffusers
from diffusers import DiffusionPipeline, ModelMixin
from families import NEGATIVE, PROMPT
from family_parts import TEXT_WIDTH, VOCABULARY, tokenizer, wan_vae
from transformers import SiglipVisionConfig, T5Gemma2EncoderConfig, T5Gemma2TextConfig
from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

from small_pipelines.form import SmallPipeline, small
from small_pipelines.parts import IMAGE_SIDE, image, siglip_images

_CALL = {
    "prompt": PROMPT,
    "negative_prompt": NEGATIVE,
    "num_frames": 17,
    "height": 48,
    "width": 64,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
    "output_type": "latent",
}
_DECODER = {
    "num_single_layers": 3,
    "num_decoder_layers": 2,
    "enable_text_cross_attention_dual": True,
    "enable_text_cross_attention_single": True,
}
"""As released: the last single blocks see the video twice, and text by cross attention as well."""


def _transformer(**changes: Any) -> ModelMixin:
    sizes = {
        "in_channels": 2 * 4 + 1,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "mlp_ratio": 2.0,
        "text_embed_dim": TEXT_WIDTH,
        "image_embed_dim": TEXT_WIDTH,
        "rope_axes_dim": (4, 6, 6),
    }
    return diffusers.MotifVideoTransformer3DModel(**{**sizes, **changes})


def _encoder() -> T5Gemma2Encoder:
    """Return the encoder of texts, whose vision tower encodes the image."""
    shared = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = T5Gemma2TextConfig(
        vocab_size=VOCABULARY,
        head_dim=16,
        num_key_value_heads=2,
        max_position_embeddings=128,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        **shared,
    )
    vision = SiglipVisionConfig(image_size=IMAGE_SIDE, patch_size=IMAGE_SIDE // 2, **shared)
    return T5Gemma2Encoder(
        T5Gemma2EncoderConfig(text_config=text, vision_config=vision, image_token_index=VOCABULARY - 1)
    )


def _parts(**changes: Any) -> dict[str, Any]:
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "vae": wan_vae(),
        "text_encoder": _encoder(),
        "tokenizer": tokenizer(512),
        "transformer": _transformer(**changes),
        "guider": diffusers.AdaptiveProjectedGuidance(guidance_scale=8.0),
        "feature_extractor": siglip_images(),
    }


def _build(name: str, **changes: Any) -> DiffusionPipeline:
    return getattr(diffusers, name)(**_parts(**changes))


def _entries(name: str, **inputs: Any) -> dict[str, SmallPipeline]:
    plain, decoder = partial(_build, name), partial(_build, name, **_DECODER)
    return {
        name: SmallPipeline(build=small(plain), call=_CALL, inputs=inputs),
        f"{name}-decoder": SmallPipeline(build=small(decoder), call=_CALL, inputs=inputs),
    }


PIPELINES: dict[str, SmallPipeline] = {
    **_entries("MotifVideoPipeline"),
    **_entries("MotifVideoImage2VideoPipeline", image=image()),
}
