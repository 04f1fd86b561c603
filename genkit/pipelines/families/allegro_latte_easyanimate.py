"""Allegro, Latte and EasyAnimate."""

from collections.abc import Mapping
from typing import Any

from genkit.attention.facts.inputs import Input
from genkit.attention.facts.made import as_asked
from genkit.pipelines.pipeline_facts import PipelineFacts, Published


def _numbers(frames: Any, arguments: Mapping[str, Any]) -> Any:
    """Return frames as the numbers that EasyAnimate takes: a tensor ``[1, C, T, H, W]``, a video in [0, 1] and a mask
    of 0 and 255."""
    import numpy as np
    import torch

    numbers = torch.from_numpy(np.stack([np.asarray(frame) for frame in frames])).float()
    video = numbers.permute(3, 0, 1, 2) / 255 if numbers.ndim == 4 else numbers[None]
    return video[None].contiguous()


def _along(argument: str, form: Any) -> Input:
    return Input(argument=argument, form=form, whole=True, stepped=True, convert=_numbers)


FAMILIES = (
    PipelineFacts(
        name="allegro",
        models=("AllegroTransformer3DModel",),
        made_frames=as_asked,
        branches="halves",
        published=(
            Published(
                family="allegro",
                title="Allegro",
                native_frames=88,
                fps=15,
                multiple=1,
                defaults={"num_frames": 88},
                hub_ids=("rhymes-ai/Allegro",),
                parameters={"rhymes-ai/Allegro": 2.772},
                licence="Apache-2.0",
            ),
        ),
    ),
    PipelineFacts(
        name="latte",
        models=("LatteTransformer3DModel",),
        length_argument="video_length",
        stride_attribute=None,
        size_attribute="vae_scale_factor",
        branches="halves",
        published=(
            Published(
                family="latte",
                title="Latte",
                native_frames=16,
                fps=8,
                stride=1,
                hub_ids=("maxin-cn/Latte-1",),
                licence="Apache-2.0",
            ),
        ),
    ),
    PipelineFacts(
        name="easyanimate",
        models=("EasyAnimateTransformer3DModel",),
        stride_attribute="vae_temporal_compression_ratio",
        size_attribute="vae_spatial_compression_ratio",
        branches="halves",
        takes={"video": _along("video", "video"), "mask": _along("mask_video", "mask")},
        published=(
            Published(
                family="easyanimate",
                title="EasyAnimate 5.1",
                native_frames=49,
                fps=8,
                hub_ids=("alibaba-pai/EasyAnimateV5.1-12b-zh-diffusers",),
                licence="Apache-2.0",
                parameters={"alibaba-pai/EasyAnimateV5.1-12b-zh-diffusers": 11.8},
            ),
        ),
    ),
    PipelineFacts(
        name="easyanimate-control",
        models=("EasyAnimateTransformer3DModel",),
        needs=frozenset({"control_video"}),
        refused="diffusers cannot run it: its encode_prompt() does not take the text_encoder_index that every call "
        "passes",
    ),
)
