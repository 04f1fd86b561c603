"""HunyuanVideo and its image-to-video kinds, SkyReels V1, FramePack, and HunyuanVideo 1.5."""

import re
from functools import partial
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video_image2video import DEFAULT_PROMPT_TEMPLATE
from families import NEGATIVE, PROMPT
from family_parts import TEXT_WIDTH, VOCABULARY, clip, hunyuan_vae, llama, llama_tokenizer, tokenizer
from transformers import (
    ByT5Tokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from small_pipelines.form import SmallPipeline, family, small
from small_pipelines.parts import chat_tokenizer, image, qwen25_vl, siglip_images, siglip_vision

_STEPS = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 2, "output_type": "latent"}
_CALL = {**_STEPS, "num_frames": 17, "height": 48, "width": 64, "max_sequence_length": 32, "true_cfg_scale": 2.0}
PICTURE_SIDE = 48
"""Height and width of what Llava sees, in pixels; patches of two pixels make the 576 that the template counts."""


def _sizes(**changes: Any) -> dict[str, Any]:
    sizes = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "mlp_ratio": 2.0,
        "text_embed_dim": TEXT_WIDTH,
        "pooled_projection_dim": TEXT_WIDTH,
        "rope_axes_dim": (4, 6, 6),
    }
    return {**sizes, **changes}


def _llama_parts() -> dict[str, Any]:
    return {
        "text_encoder": llama(),
        "tokenizer": llama_tokenizer(),
        "text_encoder_2": clip(77),
        "tokenizer_2": tokenizer(77, start=True),
        "vae": hunyuan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    }


def image_to_video(kind: str) -> DiffusionPipeline:
    """Build the ``kind`` ``latent_concat`` (image in further channels) or ``token_replace`` (as the first frame)."""
    channels = 2 * 4 + 1 if kind == "latent_concat" else 4
    sizes = _sizes(in_channels=channels, image_condition_type=kind, guidance_embeds=False)
    words, side = _picture_tokenizer(), {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
    return diffusers.HunyuanVideoImageToVideoPipeline(
        transformer=diffusers.HunyuanVideoTransformer3DModel(**sizes),
        image_processor=CLIPImageProcessor(size={"shortest_edge": PICTURE_SIDE}, crop_size=side),
        **{**_llama_parts(), "tokenizer": words, "text_encoder": _llava(words)},
    )


def _picture_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each mark of the template: the pipeline looks for two of them."""
    template = str(DEFAULT_PROMPT_TEMPLATE["template"])
    words = re.findall(r"\w+", re.sub(r"<.*?>", " ", template.lower()))
    made = tokenizer(512, start=True, more_words=words)
    made.add_special_tokens({"additional_special_tokens": sorted(set(re.findall(r"<\|\w+\|>|<image>", template)))})
    assert len(made) <= VOCABULARY
    return made


def _llava(words: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=PICTURE_SIDE,
        patch_size=2,
        projection_dim=16,
    )
    picture = words.convert_tokens_to_ids("<image>")
    text = llama().config
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=picture, pad_token_id=text.pad_token_id)
    )


@small
def skyreels_v1() -> DiffusionPipeline:
    """SkyReels V1: HunyuanVideo with the latents of the image in further channels."""
    transformer = diffusers.HunyuanVideoTransformer3DModel(**_sizes(in_channels=8))
    return diffusers.HunyuanSkyreelsImageToVideoPipeline(transformer=transformer, **_llama_parts())


@small
def framepack() -> DiffusionPipeline:
    """FramePack: history at three strides before the video, image and text behind it."""
    sizes = _sizes(has_image_proj=True, image_proj_dim=TEXT_WIDTH, has_clean_x_embedder=True)
    return diffusers.HunyuanVideoFramepackPipeline(
        transformer=diffusers.HunyuanVideoFramepackTransformer3DModel(**sizes),
        image_encoder=siglip_vision(),
        feature_extractor=siglip_images(),
        **_llama_parts(),
    )


@small
def hunyuan15() -> DiffusionPipeline:
    """HunyuanVideo 1.5: a guider instead of a scale, and more slots for text and image than tokens."""
    return _fewer_slots(diffusers.HunyuanVideo15Pipeline(**_parts15("t2v")))


@small
def hunyuan15_image() -> DiffusionPipeline:
    """HunyuanVideo 1.5 (image to video), whose size follows from the image."""
    return _fewer_slots(
        diffusers.HunyuanVideo15ImageToVideoPipeline(
            image_encoder=siglip_vision(), feature_extractor=siglip_images(), **_parts15("i2v")
        )
    )


def _parts15(task: str) -> dict[str, Any]:
    glyphs = T5Config(vocab_size=384, d_model=TEXT_WIDTH, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    sizes = _sizes(in_channels=2 * 4 + 1, num_layers=2, text_embed_2_dim=TEXT_WIDTH, image_embed_dim=TEXT_WIDTH)
    for foreign in ("num_single_layers", "pooled_projection_dim"):
        sizes.pop(foreign)
    return {
        "text_encoder": qwen25_vl().model.language_model,
        "tokenizer": chat_tokenizer(512),
        "text_encoder_2": T5EncoderModel(glyphs),
        "tokenizer_2": ByT5Tokenizer(),
        "transformer": diffusers.HunyuanVideo15Transformer3DModel(**sizes, target_size=80, task_type=task),
        "vae": _vae15(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
    }


def _vae15() -> diffusers.AutoencoderKLHunyuanVideo15:
    """Return the autoencoder of HunyuanVideo 1.5, with its strides 4 and 16."""
    return diffusers.AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(8,) * 5, layers_per_block=1)


def _fewer_slots(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """Leave 100 of the 1,985 slots for text and image, and the instruction out of every prompt."""
    pipe.system_message = ""
    pipe.prompt_template_encode_start_idx = 0
    pipe.tokenizer_max_length, pipe.tokenizer_2_max_length, pipe.vision_num_semantic_tokens = 64, 32, 4
    return pipe


_PICTURE = {"image": image()}

PIPELINES: dict[str, SmallPipeline] = {
    "HunyuanVideoPipeline": family("hunyuan"),
    "HunyuanVideoImageToVideoPipeline": SmallPipeline(
        build=small(partial(image_to_video, "latent_concat")), call=_CALL, inputs=_PICTURE
    ),
    "HunyuanVideoImageToVideoPipeline-token_replace": SmallPipeline(
        build=small(partial(image_to_video, "token_replace")), call=_CALL, inputs=_PICTURE
    ),
    "HunyuanSkyreelsImageToVideoPipeline": SmallPipeline(build=skyreels_v1, call=_CALL, inputs=_PICTURE),
    "HunyuanVideoFramepackPipeline": SmallPipeline(
        build=framepack,
        call={**_CALL, "num_frames": 9, "height": 64, "width": 96, "latent_window_size": 3},
        inputs={"image": image(96, 64)},
    ),
    "HunyuanVideo15Pipeline": SmallPipeline(
        build=hunyuan15, call={**_STEPS, "num_frames": 17, "height": 64, "width": 96}
    ),
    "HunyuanVideo15ImageToVideoPipeline": SmallPipeline(
        build=hunyuan15_image, call={**_STEPS, "num_frames": 17}, inputs={"image": image(96, 64)}
    ),
}
