"""Pipelines around models that were made from Wan: VACE, Wan-Animate, ChronoEdit and AnyFlow."""

from typing import Any

from genkit.attention.facts.inputs import Form, Input
from genkit.attention.facts.made import as_asked, rounded
from genkit.attention.facts.volume import configured
from genkit.attention.model.callers import local_of_call
from genkit.pipelines.families.wan import of_checkpoint, of_images
from genkit.pipelines.lengths import after_thinking, segments
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _face_size(pipe: Any) -> tuple[int, int]:
    side = int(configured(pipe.transformer, "motion_encoder_size"))
    return side, side


def _along(argument: str, form: Form = "video", **changes: Any) -> Input:
    """Return a video as long as the result; Wan-Animate makes any length, in segments."""
    return Input(argument=argument, form=form, whole=True, **changes)


FAMILIES = (
    PipelineFacts(
        name="wan-vace",
        models=("WanVACETransformer3DModel",),
        noise_lead=lambda pipe: local_of_call(pipe, "num_reference_images") or 0,
        made_frames=rounded,
        prompts="pairs",
        read=of_checkpoint,
        published=(
            Published(
                family="wan-vace",
                title="Wan VACE",
                native_frames=81,
                fps=16,
                hub_ids=("Wan-AI/Wan2.1-VACE-1.3B-diffusers", "Wan-AI/Wan2.1-VACE-14B-diffusers"),
                licence="Apache-2.0",
                parameters={"Wan-AI/Wan2.1-VACE-1.3B-diffusers": 2.154, "Wan-AI/Wan2.1-VACE-14B-diffusers": 17.34},
            ),
        ),
    ),
    PipelineFacts(
        name="wan-animate",
        models=("WanAnimateTransformer3DModel",),
        noise_lead=lambda pipe: 1,
        made_frames=as_asked,
        parts_made=segments,
        prompts="pairs",
        read=of_images,
        takes={
            "pose_video": _along("pose_video", required=True),
            "face_video": _along("face_video", required=True, size=_face_size),
            "background": _along("background_video"),
            "mask": _along("mask_video", "mask"),
        },
        published=(
            Published(
                family="wan-animate",
                title="Wan-Animate",
                native_frames=77,
                fps=30,
                hub_ids=("Wan-AI/Wan2.2-Animate-14B-Diffusers",),
                licence="Apache-2.0",
                parameters={"Wan-AI/Wan2.2-Animate-14B-Diffusers": 17.27},
            ),
        ),
    ),
    PipelineFacts(
        name="chronoedit",
        models=("ChronoEditTransformer3DModel",),
        made_frames=after_thinking,
        length_is_made=False,
        branches="order",
        prompts="pairs",
        read=of_images,
        published=(
            Published(
                family="chronoedit",
                title="ChronoEdit",
                native_frames=29,
                fps=16,
                defaults={"num_frames": 29},
                hub_ids=("nvidia/ChronoEdit-14B-Diffusers",),
                licence="nvidia-open-model-license",
            ),
        ),
    ),
    PipelineFacts(
        name="anyflow",
        models=("AnyFlowTransformer3DModel",),
        made_frames=rounded,
        branches="halves",
        prompts="pairs",
        noise_axis=2,
        published=(
            Published(
                family="anyflow",
                title="AnyFlow",
                native_frames=81,
                fps=16,
                hub_ids=("nvidia/AnyFlow-Wan2.1-T2V-14B-Diffusers",),
            ),
        ),
    ),
)
