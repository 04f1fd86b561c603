"""Helios: a long video chunk by chunk, each after three lengths of history; the pyramid has three sizes of a chunk."""

from __future__ import annotations

from typing import Any

import diffusers
from families import TEXT

from small_pipelines.form import CLIP, TEXTS, SmallPipeline, small
from small_pipelines.parts import film, image
from small_pipelines.wan import SIZES, text_and_video

CALL: dict[str, Any] = {
    **TEXTS,
    **CLIP,
    "guidance_scale": 5.0,
    "max_sequence_length": TEXT,
    "history_sizes": [4, 2, 1],
    "num_latent_frames_per_chunk": 5,
}


def transformer() -> diffusers.HeliosTransformer3DModel:
    """Return a random model of two blocks."""
    sizes = {name: value for name, value in SIZES.items() if name != "rope_max_seq_len"}
    return diffusers.HeliosTransformer3DModel(**sizes, rope_dim=(8, 8, 8))


@small
def helios() -> diffusers.HeliosPipeline:
    """Build Helios with its own solver in one stage."""
    solver = diffusers.HeliosScheduler(stages=1, stage_range=[0, 1], use_dynamic_shifting=True)
    return diffusers.HeliosPipeline(**{**text_and_video(), "scheduler": solver}, transformer=transformer())


def _pyramid(scheduler: Any, **options: bool) -> diffusers.HeliosPyramidPipeline:
    parts = {**text_and_video(), "scheduler": scheduler}
    return diffusers.HeliosPyramidPipeline(**parts, transformer=transformer(), **options)


GAMMA = 0.3
"""Correlation of the noise that stages add, inside 2 x 2 latents; at the released 1/3 the covariance is singular."""


@small
def pyramid() -> diffusers.HeliosPyramidPipeline:
    """Build the pyramid of three stages."""
    return _pyramid(diffusers.HeliosScheduler(gamma=GAMMA))


@small
def pyramid_distilled() -> diffusers.HeliosPyramidPipeline:
    """Build the distilled pyramid, which goes back to the noise of each stage and takes no guidance."""
    return _pyramid(diffusers.HeliosDMDScheduler(gamma=GAMMA), is_distilled=True)


_PYRAMID = {name: value for name, value in CALL.items() if name != "num_inference_steps"}
_PYRAMID |= {"height": 64, "width": 128, "pyramid_num_inference_steps_list": [2, 2, 2]}

PIPELINES: dict[str, SmallPipeline] = {
    "HeliosPipeline": SmallPipeline(build=helios, call=CALL, note="history of 4, 2 and 1 latent frames in front"),
    "HeliosPipeline-two-chunks": SmallPipeline(build=helios, call={**CALL, "num_frames": 33}),
    "HeliosPipeline-image": SmallPipeline(build=helios, call=CALL, inputs={"image": image()}),
    "HeliosPipeline-video": SmallPipeline(build=helios, call=CALL, inputs={"video": film(17)}),
    "HeliosPyramidPipeline": SmallPipeline(build=pyramid, call=_PYRAMID),
    "HeliosPyramidPipeline-distilled": SmallPipeline(build=pyramid_distilled, call={**_PYRAMID, "guidance_scale": 1.0}),
}
