"""Kandinsky 5 (video from text and images), Kandinsky 6 (video with sound) and its super-resolution."""

import inspect
import re
from typing import Any

import diffusers
from diffusers import DiffusionPipeline
from families import NEGATIVE, PROMPT
from family_parts import TEXT_WIDTH, clip, hunyuan_vae, tokenizer
from transformers import PreTrainedTokenizerFast

from small_pipelines.form import SmallPipeline, small
from small_pipelines.parts import film, image, qwen25_vl

_TEXTS = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "max_sequence_length": 32, "guidance_scale": 4.0}
_CALL = {**_TEXTS, "num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 2, "output_type": "latent"}
AXES = (4, 6, 6)
"""Channels of a head for frames, rows and columns; two heads make ``model_dim``."""


INSTRUCTION = 129
"""Tokens before the prompt that Kandinsky 6 cuts off; Kandinsky 5 cuts off 128."""


def _words() -> PreTrainedTokenizerFast:
    """Return a tokenizer that makes ``INSTRUCTION`` tokens or a few more of the instruction before the prompt.

    With fewer the pipeline would cut off the prompt. Unknown words are one token a character.
    """
    empty = inspect.signature(diffusers.Kandinsky5T2VPipeline.__init__).parameters.keys() - {"self"}
    instruction = diffusers.Kandinsky5T2VPipeline(**dict.fromkeys(empty)).prompt_template.partition("{}")[0]
    words = sorted(set(re.findall(r"[a-z]+", instruction.lower())))
    for known in range(len(words), 0, -1):
        made = tokenizer(2048, more_words=words[:known])
        made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        if len(made(instruction).input_ids) > INSTRUCTION:
            return made
    raise AssertionError(f"the instruction has fewer than {INSTRUCTION} tokens")


def _encoders() -> dict[str, Any]:
    return {
        "text_encoder": qwen25_vl(),
        "tokenizer": _words(),
        "text_encoder_2": clip(77),
        "tokenizer_2": tokenizer(77, start=True),
        "vae": hunyuan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    }


def _kandinsky5(**changes: Any) -> diffusers.Kandinsky5Transformer3DModel:
    return diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=TEXT_WIDTH,
        in_text_dim2=TEXT_WIDTH,
        time_dim=16,
        model_dim=2 * sum(AXES),
        ff_dim=64,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=AXES,
        **changes,
    )


@small
def text_to_video() -> DiffusionPipeline:
    """Kandinsky 5 (text to video)."""
    return diffusers.Kandinsky5T2VPipeline(transformer=_kandinsky5(), **_encoders())


@small
def image_to_video() -> DiffusionPipeline:
    """Kandinsky 5 (image to video): the image and a mask in further channels."""
    return diffusers.Kandinsky5I2VPipeline(transformer=_kandinsky5(visual_cond=True), **_encoders())


@small
def video_and_sound() -> DiffusionPipeline:
    """Kandinsky 6, with the switches of the released checkpoints: 31 tokens of sound beside the video."""
    transformer = diffusers.Kandinsky6Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=TEXT_WIDTH,
        in_text_dim2=TEXT_WIDTH,
        time_dim=16,
        model_dim=2 * sum(AXES),
        ff_dim=64,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=AXES,
        in_audio_dim=4,
        out_audio_dim=4,
        text_token_padding=True,
        ca_rope=True,
        cross_gates=True,
        fix_modulation=True,
        visual_token_type_num_embeddings=2,
    )
    vocoder = diffusers.MMAudioVocoder(num_mels=8, upsample_initial_channel=64)
    return diffusers.Kandinsky6TI2VAPipeline(
        transformer=transformer,
        audio_vae=diffusers.MMAudioVAE(mel_bins=8, latent_channels=4, hidden_channels=16, layers_per_block=1),
        vocoder=vocoder,
        **_encoders(),
    )


@small
def super_resolution() -> DiffusionPipeline:
    """Kandinsky 6 super-resolution: twice the size, one tile."""
    transformer = diffusers.Kandinsky6SRTransformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        time_dim=16,
        model_dim=2 * sum(AXES),
        ff_dim=64,
        num_visual_blocks=2,
        axes_dims=AXES,
        tile_sizes=((128, 128),),
    )
    vae = diffusers.Kandinsky6SRVAE(
        latent_channels=4,
        encoder_block_out_channels=(8,) * 5,
        decoder_block_out_channels=(8,) * 5,
        layers_per_block=1,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.Kandinsky6SRPipeline(transformer=transformer, vae=vae, scheduler=scheduler)


PIPELINES: dict[str, SmallPipeline] = {
    "Kandinsky5T2VPipeline": SmallPipeline(build=text_to_video, call=_CALL),
    "Kandinsky5I2VPipeline": SmallPipeline(build=image_to_video, call=_CALL, inputs={"image": image()}),
    "Kandinsky6TI2VAPipeline": SmallPipeline(build=video_and_sound, call=_CALL),
    "Kandinsky6TI2VAPipeline-image": SmallPipeline(build=video_and_sound, call=_CALL, inputs={"image": image()}),
    "Kandinsky6SRPipeline": SmallPipeline(
        build=super_resolution,
        call={"num_inference_steps": 2, "resolution_scale": 2, "output_type": "np"},
        inputs={"video": film(5, 64, 64)},
        slow=True,
        note="the attention is FlexAttention with a block mask",
    ),
}
