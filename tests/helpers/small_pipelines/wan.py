"""Wan: text to video of 2.1, of 2.2 with two experts and of 2.2's 5B, and what is made from images and videos."""

from __future__ import annotations

from typing import Any

import diffusers
from families import TEXT
from family_parts import TEXT_WIDTH, tokenizer, umt5, wan22_vae, wan_vae

from small_pipelines.form import CLIP, TEXTS, SmallPipeline, family, small
from small_pipelines.parts import clip_images, clip_vision, film, image, mask_film

LATENTS = 4
"""Channels of the latents of every Wan here but the 5B."""
CONDITIONED = 2 * LATENTS + 4
"""Channels of a model that takes an image: noise, the image's latents and a mask of 4 frames."""
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": LATENTS,
    "out_channels": LATENTS,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 2,
    "rope_max_seq_len": 64,
}
"""Configuration of every transformer of Wan's kind."""
WITH_CLIP = {"in_channels": CONDITIONED, "image_dim": TEXT_WIDTH, "added_kv_proj_dim": 48}
"""Changes for a model that reads an image through CLIP; text is then exactly 512 tokens long."""
CALL = {**TEXTS, **CLIP, "guidance_scale": 5.0, "max_sequence_length": TEXT}


def unipc() -> diffusers.UniPCMultistepScheduler:
    """Return the solver of the released pipelines."""
    return diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def text_and_video() -> dict[str, Any]:
    """Return the components that every pipeline of Wan's kind has, but its transformer."""
    return {"tokenizer": tokenizer(512), "text_encoder": umt5(), "vae": wan_vae(), "scheduler": unipc()}


def clip_parts() -> dict[str, Any]:
    """Return the image encoder and its processor."""
    return {"image_encoder": clip_vision(), "image_processor": clip_images()}


def transformer(**changes: Any) -> diffusers.WanTransformer3DModel:
    """Return a random Wan of two blocks."""
    return diffusers.WanTransformer3DModel(**{**SIZES, **changes})


def vace(**changes: Any) -> diffusers.WanVACETransformer3DModel:
    """Return a random VACE, whose first and last block get hints; the control is 2 latents and 8 x 8 of the mask."""
    control = {"num_layers": 3, "vace_layers": [0, 2], "vace_in_channels": 2 * LATENTS + 64}
    return diffusers.WanVACETransformer3DModel(**{**SIZES, **control, **changes})


@small
def image_to_video() -> diffusers.WanImageToVideoPipeline:
    """Build Wan 2.1 I2V, which sees the image as latents and through CLIP."""
    return diffusers.WanImageToVideoPipeline(**text_and_video(), **clip_parts(), transformer=transformer(**WITH_CLIP))


@small
def first_last_frame() -> diffusers.WanImageToVideoPipeline:
    """Build Wan 2.1 FLF2V, whose CLIP tokens of both images have learned positions: 5 tokens an image here."""
    model = transformer(**WITH_CLIP, pos_embed_seq_len=2 * 5)
    return diffusers.WanImageToVideoPipeline(**text_and_video(), **clip_parts(), transformer=model)


@small
def image_to_video_22() -> diffusers.WanImageToVideoPipeline:
    """Build Wan 2.2 I2V: two experts, without CLIP."""
    models = {name: transformer(in_channels=CONDITIONED) for name in ("transformer", "transformer_2")}
    return diffusers.WanImageToVideoPipeline(**text_and_video(), **models, boundary_ratio=0.9)


@small
def image_to_video_5b() -> diffusers.WanImageToVideoPipeline:
    """Build the 5B with an image: the first latent frame is the image's, at noise level 0."""
    model = transformer(in_channels=48, out_channels=48)
    parts = {**text_and_video(), "vae": wan22_vae()}
    return diffusers.WanImageToVideoPipeline(**parts, transformer=model, expand_timesteps=True)


@small
def video_to_video() -> diffusers.WanVideoToVideoPipeline:
    """Build Wan 2.1 V2V, which begins at the noised video."""
    return diffusers.WanVideoToVideoPipeline(**text_and_video(), transformer=transformer())


@small
def vace_21() -> diffusers.WanVACEPipeline:
    """Build VACE of Wan 2.1."""
    return diffusers.WanVACEPipeline(**text_and_video(), transformer=vace())


@small
def vace_22() -> diffusers.WanVACEPipeline:
    """Build VACE of Wan 2.2: two experts."""
    models = {"transformer": vace(), "transformer_2": vace()}
    return diffusers.WanVACEPipeline(**text_and_video(), **models, boundary_ratio=0.9)


@small
def lucy_edit() -> diffusers.LucyEditPipeline:
    """Build Lucy Edit: the video that is edited stands beside the noise, as further channels."""
    return diffusers.LucyEditPipeline(**text_and_video(), transformer=transformer(in_channels=2 * LATENTS))


_LONG_TEXT = {**CALL, "max_sequence_length": 512}
_EXPERTS = {**CALL, "num_inference_steps": 3, "guidance_scale_2": 3.0}
_FROM_VIDEO = {name: value for name, value in CALL.items() if name != "num_frames"}
_FROM_VIDEO |= {"num_inference_steps": 3, "strength": 0.7}

PIPELINES: dict[str, SmallPipeline] = {
    "WanPipeline": family("wan"),
    "WanPipeline-2.2": family("wan22"),
    "WanPipeline-5b": family("wan22_5b"),
    "WanImageToVideoPipeline": SmallPipeline(build=image_to_video, call=_LONG_TEXT, inputs={"image": image()}),
    "WanImageToVideoPipeline-last-image": SmallPipeline(
        build=first_last_frame, call=_LONG_TEXT, inputs={"image": image(), "last_image": image(shift=16)}
    ),
    "WanImageToVideoPipeline-2.2": SmallPipeline(build=image_to_video_22, call=_EXPERTS, inputs={"image": image()}),
    "WanImageToVideoPipeline-5b": SmallPipeline(
        build=image_to_video_5b, call={**CALL, "height": 96, "width": 128}, inputs={"image": image(128, 96)}
    ),
    "WanVideoToVideoPipeline": SmallPipeline(
        build=video_to_video,
        call=_FROM_VIDEO,
        inputs={"video": film(17)},
    ),
    "WanVACEPipeline": SmallPipeline(
        build=vace_21,
        call=CALL,
        inputs={
            "video": film(17),
            "mask": mask_film(17),
            "reference_images": lambda: [image()()],
        },
        note="the reference image is a latent frame in front: 6 for 17 frames",
    ),
    "WanVACEPipeline-2.2": SmallPipeline(build=vace_22, call=_EXPERTS, note="from text alone"),
    "LucyEditPipeline": SmallPipeline(build=lucy_edit, call=CALL, inputs={"video": film(17)}),
}
