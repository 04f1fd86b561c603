"""LTX-2: video with audio from text, images, references and keyframes."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from families import TEXT, sizes
from family_parts import TEXT_WIDTH

from small_pipelines.form import TEXTS, SmallPipeline, small
from small_pipelines.parts import chat_tokenizer, film, gemma3, image

LATENTS = 8
MEL_BINS = 8
AUDIO = 4
"""Channels of one audio token: two of the latents at two of the bands."""
CALL = {**TEXTS, **sizes("ltx"), "output_type": "latent", "spatio_temporal_guidance_blocks": [1]}
"""33 frames of 96 x 128 pixels are 5 x 3 x 4 video tokens and 34 of audio; three forwards a step."""
FIRST, LATER = image(128, 96), image(128, 96, shift=16)
REFERENCE = film(33, 128, 96)


def video_vae() -> diffusers.AutoencoderKLLTX2Video:
    """Return an autoencoder of strides 8 and 32."""
    return diffusers.AutoencoderKLLTX2Video(
        latent_channels=LATENTS,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def audio_vae() -> diffusers.AutoencoderKLLTX2Audio:
    """Return an autoencoder of spectrograms, of stride 4 in time and in frequency."""
    return diffusers.AutoencoderKLLTX2Audio(
        base_channels=AUDIO, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2, mel_bins=MEL_BINS
    )


def vocoder() -> Any:
    """Return what makes sound of a stereo spectrogram."""
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    return LTX2Vocoder(
        in_channels=2 * MEL_BINS,
        hidden_channels=16,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3]],
    )


def connectors() -> Any:
    """Return what makes text for video and for audio of the three hidden states; padding becomes learned tokens."""
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    sizes_of_both = {
        f"{stream}_connector_{name}": value
        for stream in ("video", "audio")
        for name, value in {
            "num_attention_heads": 2,
            "attention_head_dim": TEXT_WIDTH // 2,
            "num_layers": 1,
            "num_learnable_registers": TEXT,
        }.items()
    }
    return LTX2TextConnectors(caption_channels=TEXT_WIDTH, text_proj_in_factor=3, rope_type="split", **sizes_of_both)


def transformer(**changes: Any) -> diffusers.LTX2VideoTransformer3DModel:
    """Return a random model of two blocks, with split rotary positions as the released ones."""
    settings = {
        "in_channels": LATENTS,
        "out_channels": LATENTS,
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "cross_attention_dim": 48,
        "audio_in_channels": AUDIO,
        "audio_out_channels": AUDIO,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 12,
        "audio_cross_attention_dim": 24,
        "num_layers": 2,
        "caption_channels": TEXT_WIDTH,
        "rope_type": "split",
    }
    return diffusers.LTX2VideoTransformer3DModel(**{**settings, **changes})


def parts(**changes: Any) -> dict[str, Any]:
    """Return the components that every pipeline has; ``changes`` are the transformer's."""
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": video_vae(),
        "audio_vae": audio_vae(),
        "text_encoder": gemma3(),
        "tokenizer": chat_tokenizer(1024, start=True),
        "connectors": connectors(),
        "transformer": transformer(**changes),
        "vocoder": vocoder(),
    }


def _upsampler() -> Any:
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    return LTX2LatentUpsamplerModel(
        in_channels=LATENTS, mid_channels=32, num_blocks_per_stage=1, spatial_upsample=False, temporal_upsample=True
    )


@small
def text_to_video() -> diffusers.LTX2Pipeline:
    """Build LTX-2 T2V."""
    return diffusers.LTX2Pipeline(**parts())


@small
def image_to_video() -> diffusers.LTX2ImageToVideoPipeline:
    """Build LTX-2 I2V."""
    return diffusers.LTX2ImageToVideoPipeline(**parts())


@small
def condition() -> diffusers.LTX2ConditionPipeline:
    """Build LTX-2 with images and videos at any place."""
    return diffusers.LTX2ConditionPipeline(**parts())


@small
def in_context() -> diffusers.LTX2InContextPipeline:
    """Build LTX-2 with a reference video, whose tokens stand behind."""
    return diffusers.LTX2InContextPipeline(**parts())


@small
def hdr() -> diffusers.LTX2HDRPipeline:
    """Build LTX-2 that makes a video of high dynamic range from a reference."""
    return diffusers.LTX2HDRPipeline(**parts())


@small
def dfr() -> diffusers.LTX2DFRPipeline:
    """Build the first pass of LTX-2.5's fidelity rendering: keyframes are further tokens."""
    components = {
        **parts(use_keyframes_abs_pos_embedding=True),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }
    return diffusers.LTX2DFRPipeline(**components)


@small
def dfr_temporal_refine() -> diffusers.LTX2DFRTemporalRefinePipeline:
    """Build the pass that doubles the frames between keyframes."""
    solver = diffusers.LTXEulerAncestralRFScheduler()
    components = {**parts(use_keyframes_abs_pos_embedding=True), "scheduler": solver}
    return diffusers.LTX2DFRTemporalRefinePipeline(**components, temporal_latent_upsampler=_upsampler())


def _condition(frames: Any, **options: Any) -> Any:
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    return LTX2VideoCondition(frames=frames, **options)


def conditions() -> list[Any]:
    """Return an image at the start and a video of two latent frames in the middle."""
    return [_condition(FIRST()), _condition(film(9, 128, 96)(), index=2, strength=0.5)]


def references() -> list[Any]:
    """Return a reference for IC-LoRA, as long as the video."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

    return [LTX2ReferenceCondition(frames=REFERENCE(), strength=1.0)]


def hdr_references() -> list[Any]:
    """Return a reference for HDR, as long as the video."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_hdr_lora import LTX2HDRReferenceCondition

    return [LTX2HDRReferenceCondition(frames=REFERENCE(), strength=1.0)]


def noise(*shape: int) -> Any:
    """Return a function that makes the same latents every time."""
    return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(0))


_GUIDANCE = ("negative_prompt", "guidance_scale", "num_inference_steps", "spatio_temporal_guidance_blocks")
_HDR = {name: value for name, value in CALL.items() if name != "spatio_temporal_guidance_blocks"}
_DFR = {**{name: value for name, value in CALL.items() if name not in _GUIDANCE}, "sigmas": [1.0, 0.5]}
_SECOND_PASS = {
    "latents": noise(1, LATENTS, 5, 3, 4),
    "keyframes_latents": noise(1, LATENTS, 1, 3, 4),
    "audio_latents": noise(1, 2, 34, 2),
}

PIPELINES: dict[str, SmallPipeline] = {
    "LTX2Pipeline": SmallPipeline(build=text_to_video, call=CALL),
    "LTX2ImageToVideoPipeline": SmallPipeline(build=image_to_video, call=CALL, inputs={"image": FIRST}),
    "LTX2ConditionPipeline": SmallPipeline(build=condition, call=CALL, inputs={"conditions": conditions}),
    "LTX2InContextPipeline": SmallPipeline(
        build=in_context, call=CALL, inputs={"reference_conditions": references}, note="60 reference tokens behind"
    ),
    "LTX2InContextPipeline-strength": SmallPipeline(
        build=in_context,
        call={**CALL, "conditioning_attention_strength": 0.5},
        inputs={"reference_conditions": references},
        note="an additive mask of all token pairs",
    ),
    "LTX2HDRPipeline": SmallPipeline(build=hdr, call=_HDR, inputs={"reference_conditions": hdr_references}),
    "LTX2DFRPipeline": SmallPipeline(build=dfr, call=_DFR, note="12 tokens of one keyframe behind"),
    "LTX2DFRTemporalRefinePipeline": SmallPipeline(
        build=dfr_temporal_refine, call={**_DFR, "keyframe_positions": [32]}, inputs=_SECOND_PASS
    ),
}
