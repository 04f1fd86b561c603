"""Pipelines whose transformers are of Wan's kind: Wan-Animate, ChronoEdit, AnyFlow and AnyFlow-FAR."""

from __future__ import annotations

import diffusers

from small_pipelines.form import SmallPipeline, small
from small_pipelines.parts import film, image, mask_film
from small_pipelines.wan import CALL, LATENTS, SIZES, WITH_CLIP, clip_parts, text_and_video

FACE = 16
"""Height and width of a face in pixels."""


def _animate_transformer() -> diffusers.WanAnimateTransformer3DModel:
    face = {
        "latent_channels": LATENTS,
        "motion_encoder_size": FACE,
        "motion_encoder_channel_sizes": {"4": 8, "8": 8, "16": 8},
        "motion_style_dim": 8,
        "motion_dim": 4,
        "motion_encoder_dim": 16,
        "face_encoder_hidden_dim": 16,
        "face_encoder_num_heads": 2,
        "inject_face_latents_blocks": 1,
    }
    return diffusers.WanAnimateTransformer3DModel(**{**SIZES, **WITH_CLIP, **face})


@small
def animate() -> diffusers.WanAnimatePipeline:
    """Build Wan-Animate; a face adapter after every block, of 2 tokens of motion and one of padding a frame."""
    return diffusers.WanAnimatePipeline(**text_and_video(), **clip_parts(), transformer=_animate_transformer())


@small
def chrono_edit() -> diffusers.ChronoEditPipeline:
    """Build ChronoEdit: of two latent frames that are left the second has position ``rope_temporal_skip_len - 1``."""
    model = diffusers.ChronoEditTransformer3DModel(**{**SIZES, **WITH_CLIP}, rope_temporal_skip_len=8)
    return diffusers.ChronoEditPipeline(**text_and_video(), **clip_parts(), transformer=model)


def _flow_map() -> diffusers.FlowMapEulerDiscreteScheduler:
    return diffusers.FlowMapEulerDiscreteScheduler(shift=3.0)


@small
def any_flow() -> diffusers.AnyFlowPipeline:
    """Build AnyFlow, whose model takes the noise level that it goes to as well."""
    parts = {**text_and_video(), "scheduler": _flow_map()}
    return diffusers.AnyFlowPipeline(**parts, transformer=diffusers.AnyFlowTransformer3DModel(**SIZES))


@small
def any_flow_far() -> diffusers.AnyFlowFARPipeline:
    """Build AnyFlow-FAR: one chunk of frames after the other, by FlexAttention over those that are cached."""
    model = diffusers.AnyFlowFARTransformer3DModel(**SIZES, chunk_partition=(1, 2, 2), full_chunk_limit=2)
    return diffusers.AnyFlowFARPipeline(**{**text_and_video(), "scheduler": _flow_map()}, transformer=model)


_SEGMENTS = {**{name: value for name, value in CALL.items() if name != "num_frames"}, "segment_frame_length": 17}
_ANIMATE = {**_SEGMENTS, "max_sequence_length": 512}
_BODY = {"image": image(), "pose_video": film(17), "face_video": film(17, FACE, FACE)}
_CHRONO = {**CALL, "max_sequence_length": 512, "enable_temporal_reasoning": True, "num_temporal_reasoning_steps": 2}

PIPELINES: dict[str, SmallPipeline] = {
    "WanAnimatePipeline": SmallPipeline(
        build=animate, call=_ANIMATE, inputs=_BODY, note="the reference image is a latent frame in front"
    ),
    "WanAnimatePipeline-replace": SmallPipeline(
        build=animate,
        call={**_ANIMATE, "mode": "replace"},
        inputs={**_BODY, "background_video": film(17), "mask_video": mask_film(17)},
    ),
    "ChronoEditPipeline": SmallPipeline(build=chrono_edit, call=_CHRONO, inputs={"image": image()}),
    "ChronoEditPipeline-two-frames": SmallPipeline(
        build=chrono_edit,
        call={**_CHRONO, "num_inference_steps": 3},
        inputs={"image": image()},
        note="after two steps only the first and the last latent frame are left",
    ),
    "AnyFlowPipeline": SmallPipeline(build=any_flow, call=CALL),
    "AnyFlowFARPipeline": SmallPipeline(build=any_flow_far, call=CALL),
}
