"""SkyReels-V2: text and image to video, and diffusion forcing: a noise level for each latent frame."""

from __future__ import annotations

from typing import Any

import diffusers

from small_pipelines.form import SmallPipeline, small
from small_pipelines.parts import clip_images, clip_vision_projected, film, image
from small_pipelines.wan import CALL, SIZES, WITH_CLIP, text_and_video


def transformer(**changes: Any) -> diffusers.SkyReelsV2Transformer3DModel:
    """Return a random model of two blocks."""
    return diffusers.SkyReelsV2Transformer3DModel(**{**SIZES, **changes})


@small
def text_to_video() -> diffusers.SkyReelsV2Pipeline:
    """Build SkyReels-V2 T2V."""
    return diffusers.SkyReelsV2Pipeline(**text_and_video(), transformer=transformer())


@small
def image_to_video() -> diffusers.SkyReelsV2ImageToVideoPipeline:
    """Build SkyReels-V2 I2V, which sees the image as latents and through CLIP."""
    encoder = {"image_encoder": clip_vision_projected(), "image_processor": clip_images()}
    model = transformer(**WITH_CLIP)
    return diffusers.SkyReelsV2ImageToVideoPipeline(**text_and_video(), **encoder, transformer=model)


@small
def first_last_frame() -> diffusers.SkyReelsV2ImageToVideoPipeline:
    """Build SkyReels-V2 I2V for two images, whose CLIP tokens have learned positions: 5 tokens an image here."""
    encoder = {"image_encoder": clip_vision_projected(), "image_processor": clip_images()}
    model = transformer(**WITH_CLIP, pos_embed_seq_len=2 * 5)
    return diffusers.SkyReelsV2ImageToVideoPipeline(**text_and_video(), **encoder, transformer=model)


@small
def forcing() -> diffusers.SkyReelsV2DiffusionForcingPipeline:
    """Build diffusion forcing from text; the model knows the frame rate."""
    model = transformer(inject_sample_info=True)
    return diffusers.SkyReelsV2DiffusionForcingPipeline(**text_and_video(), transformer=model)


@small
def forcing_image() -> diffusers.SkyReelsV2DiffusionForcingImageToVideoPipeline:
    """Build diffusion forcing from an image, which is the first latent frame."""
    return diffusers.SkyReelsV2DiffusionForcingImageToVideoPipeline(**text_and_video(), transformer=transformer())


@small
def forcing_video() -> diffusers.SkyReelsV2DiffusionForcingVideoToVideoPipeline:
    """Build diffusion forcing that makes a video longer."""
    return diffusers.SkyReelsV2DiffusionForcingVideoToVideoPipeline(**text_and_video(), transformer=transformer())


_LONG_TEXT = {**CALL, "max_sequence_length": 512}
_SECTIONS = {"num_frames": 33, "base_num_frames": 17, "overlap_history": 5}

PIPELINES: dict[str, SmallPipeline] = {
    "SkyReelsV2Pipeline": SmallPipeline(build=text_to_video, call=CALL),
    "SkyReelsV2ImageToVideoPipeline": SmallPipeline(build=image_to_video, call=_LONG_TEXT, inputs={"image": image()}),
    "SkyReelsV2ImageToVideoPipeline-last-image": SmallPipeline(
        build=first_last_frame, call=_LONG_TEXT, inputs={"image": image(), "last_image": image(shift=16)}
    ),
    "SkyReelsV2DiffusionForcingPipeline": SmallPipeline(build=forcing, call=CALL, note="a solver for each frame"),
    "SkyReelsV2DiffusionForcingPipeline-asynchronous": SmallPipeline(
        build=forcing, call={**CALL, "ar_step": 1, "causal_block_size": 1}, note="later frames begin later"
    ),
    "SkyReelsV2DiffusionForcingPipeline-sections": SmallPipeline(
        build=forcing, call={**CALL, **_SECTIONS}, note="two runs of five latent frames that share two"
    ),
    "SkyReelsV2DiffusionForcingImageToVideoPipeline": SmallPipeline(
        build=forcing_image, call=CALL, inputs={"image": image()}
    ),
    "SkyReelsV2DiffusionForcingImageToVideoPipeline-last-image": SmallPipeline(
        build=forcing_image,
        call=CALL,
        inputs={"image": image(), "last_image": image(shift=16)},
        note="the last image is a latent frame behind: 6 for 17 frames",
    ),
    "SkyReelsV2DiffusionForcingVideoToVideoPipeline": SmallPipeline(
        build=forcing_video,
        call={**CALL, **_SECTIONS},
        inputs={"video": film(17)},
        note="continues the last two latent frames of the video",
    ),
}
