"""Pipelines around UNets: AnimateDiff, ModelScope and Zeroscope."""

from dataclasses import replace
from typing import Any

from genkit.attention.facts.call import defaults_of_call
from genkit.attention.facts.card import Card
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.volume import configured
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _from_video(card: Card, pipe: Any) -> Card:
    """A pipeline that changes a video begins with that video, noised."""
    if "video" not in defaults_of_call(pipe):
        return card
    return replace(card, given="those contain the video that it changes")


def _within_positions(card: Card, pipe: Any) -> Card:
    """A motion module was trained on no more frames than it has positions; with two text encoders the pooled text of
    the second one belongs to the answer of ``encode_prompt``."""
    if getattr(pipe, "text_encoder_2", None) is not None:
        card = replace(card, prompts=None)
    card, longest = _from_video(card, pipe), card.longest(pipe)
    if card.native_frames is None or longest is None:
        return card
    return replace(card, native_frames=min(card.native_frames, longest))


def _makes_longer_clips(pipe: Any) -> bool:
    return configured(getattr(pipe, "unet", None), "num_frames") == 25


FAMILIES = (
    PipelineFacts(
        name="animatediff",
        models=("UNetMotionModel",),
        prompts="pairs",
        components=("unet",),
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        read=_within_positions,
        published=(
            Published(
                family="animatediff",
                title="AnimateDiff",
                native_frames=16,
                fps=8,
                stride=1,
                hub_ids=("guoyww/animatediff-motion-adapter-v1-5-3",),
                licence="Apache-2.0",
                parameters={"guoyww/animatediff-motion-adapter-v1-5-3": 1.277},
            ),
        ),
    ),
    PipelineFacts(
        name="text-to-video-sd",
        models=("UNet3DConditionModel",),
        prompts="pairs",
        components=("unet",),
        read=_from_video,
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        published=(
            Published(
                family="text-to-video-sd",
                title="ModelScope and Zeroscope (TextToVideoSD)",
                native_frames=16,
                fps=8,
                stride=1,
                hub_ids=("ali-vilab/text-to-video-ms-1.7b", "cerspense/zeroscope_v2_576w"),
                licence="CC-BY-NC-4.0",
            ),
        ),
    ),
    PipelineFacts(
        name="i2vgen-xl",
        models=("I2VGenXLUNet",),
        takes={"image": Input(argument="image", form="image", required=True)},
        components=("unet",),
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        published=(
            Published(
                family="i2vgen-xl",
                title="I2VGen-XL",
                native_frames=16,
                fps=16,
                stride=1,
                hub_ids=("ali-vilab/i2vgen-xl",),
                parameters={"ali-vilab/i2vgen-xl": 1.42},
            ),
        ),
    ),
    PipelineFacts(
        name="svd",
        models=("UNetSpatioTemporalConditionModel",),
        components=("unet",),
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        published=(
            Published(
                family="svd-xt",
                title="Stable Video Diffusion XT",
                when=_makes_longer_clips,
                native_frames=25,
                fps=7,
                stride=1,
                hub_ids=("stabilityai/stable-video-diffusion-img2vid-xt",),
                licence="stable-video-diffusion-community",
                parameters={"stabilityai/stable-video-diffusion-img2vid-xt": 1.525},
            ),
            Published(
                family="svd",
                title="Stable Video Diffusion",
                native_frames=14,
                fps=7,
                stride=1,
                hub_ids=("stabilityai/stable-video-diffusion-img2vid",),
                licence="stable-video-diffusion-community",
                parameters={"stabilityai/stable-video-diffusion-img2vid": 1.525},
            ),
        ),
    ),
)
