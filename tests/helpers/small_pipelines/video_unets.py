"""UNets of video: ModelScope, Stable Video Diffusion and I2VGenXL; and Text2Video-Zero, whose UNet makes images."""

from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from families import FAMILIES, NEGATIVE, PROMPT
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from small_pipelines.animatediff import LEVELS, sdxl_texts, sdxl_unet, unet
from small_pipelines.form import SmallPipeline, family, small
from small_pipelines.parts import clip_images, clip_vision_projected, film, image

_TEXTS = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 9.0}
_SIZE = {"height": 48, "width": 64, "num_inference_steps": 2, "output_type": "latent"}


@small
def video_to_video() -> DiffusionPipeline:
    """ModelScope from the noised latents of a video."""
    return diffusers.VideoToVideoSDPipeline(**FAMILIES["text_to_video_sd"]().components)


def _vision() -> CLIPVisionModelWithProjection:
    """Return the image encoder of Stable Video Diffusion, whose pipeline makes images of 224 x 224 pixels for it."""
    old = clip_vision_projected().config.to_dict()
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**{**old, "image_size": 224, "patch_size": 112}))


@small
def stable_video_diffusion() -> DiffusionPipeline:
    """Stable Video Diffusion: no text, guidance that grows from frame to frame, frames before channels."""
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4
    )
    model = diffusers.UNetSpatioTemporalConditionModel(
        **LEVELS,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        num_attention_heads=2,
        addition_time_embed_dim=16,
        projection_class_embeddings_input_dim=3 * 16,
        sample_size=8,
        num_frames=8,
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_end=0.012,
        prediction_type="v_prediction",
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    return diffusers.StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=_vision(),
        unet=model,
        scheduler=scheduler,
        feature_extractor=clip_images(),
    )


@small
def i2vgen_xl() -> DiffusionPipeline:
    """I2VGenXL: the image as latents, as tokens of a small encoder and as an embedding."""
    parts = FAMILIES["text_to_video_sd"]().components
    model = diffusers.I2VGenXLUNet(
        **LEVELS,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        attention_head_dim=2,
        num_attention_heads=None,
        norm_num_groups=8,
        sample_size=8,
    )
    return diffusers.I2VGenXLPipeline(
        **{**parts, "unet": model}, image_encoder=clip_vision_projected(), feature_extractor=clip_images()
    )


@small
def zero() -> DiffusionPipeline:
    """Text2Video-Zero: an image UNet whose frames all read the first one, by processors that the pipeline sets."""
    parts = {name: FAMILIES["text_to_video_sd"]().components[name] for name in ("vae", "text_encoder", "tokenizer")}
    checker = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.TextToVideoZeroPipeline(**parts, **checker, unet=unet(), scheduler=_ddim())


@small
def zero_sdxl() -> DiffusionPipeline:
    """Text2Video-Zero of SDXL."""
    vae = FAMILIES["text_to_video_sd"]().components["vae"]
    return diffusers.TextToVideoZeroSDXLPipeline(vae=vae, unet=sdxl_unet(), scheduler=_ddim(), **sdxl_texts())


def _ddim() -> diffusers.DDIMScheduler:
    return diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_end=0.012, clip_sample=False)


_ZERO: dict[str, Any] = {
    "call": {**_TEXTS, **_SIZE, "num_inference_steps": 4, "video_length": 6, "t0": 1, "t1": 2},
    "output": "images",
}

PIPELINES: dict[str, SmallPipeline] = {
    "TextToVideoSDPipeline": family("text_to_video_sd"),
    "VideoToVideoSDPipeline": SmallPipeline(
        build=video_to_video,
        call={**_TEXTS, "num_inference_steps": 3, "output_type": "latent"},
        inputs={"video": film(8)},
    ),
    "StableVideoDiffusionPipeline": SmallPipeline(
        build=stable_video_diffusion, call={**_SIZE, "num_frames": 8}, inputs={"image": image()}
    ),
    "I2VGenXLPipeline": SmallPipeline(
        build=i2vgen_xl,
        call={**_TEXTS, **_SIZE, "num_frames": 8, "clip_skip": None},
        inputs={"image": image()},
        draws_globally=True,
        note="its default clip_skip=1 reads text_encoder.text_model, which transformers 5 has not got",
    ),
    "TextToVideoZeroPipeline": SmallPipeline(build=zero, **_ZERO),
    "TextToVideoZeroSDXLPipeline": SmallPipeline(build=zero_sdxl, **_ZERO),
}
