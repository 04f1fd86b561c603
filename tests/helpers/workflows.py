"""What users do to a pipeline before and inside ``apply``, and what must stay true of its videos."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from small_pipelines import SMALL
from torch import Tensor

import genkit
from genkit.plugins import catalogue

PIPELINES = {"wan": "WanPipeline", "ltx": "LTXPipeline", "hunyuan": "HunyuanVideoPipeline"}
FURTHER = {"cogvideox": "CogVideoXPipeline", "animatediff": "AnimateDiffPipeline"}
"""Pipelines that only cheap workflows are tried on."""
SHARP = "min_tokens=1,dense_steps=0,dense_layers=0"
PLUGINS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "sparse": (f"radial:density=0.5,block=8,{SHARP}",),
    "noise and positions": ("freenoise:window=3,stride=1", "position-interpolation:factor=4"),
}
Change = Callable[[Any], object]
"""Something that a user does to a pipeline."""


def build(name: str) -> Any:
    """Return a new small pipeline."""
    pipe = SMALL[(PIPELINES | FURTHER)[name]].build()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def video(name: str, pipe: Any, **changes: Any) -> Tensor:
    """Return the latents of one call of a pipeline."""
    return SMALL[(PIPELINES | FURTHER)[name]].video(pipe, **changes)


def model(pipe: Any) -> Any:
    """Return the denoising model of a pipeline."""
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def applied(pipe: Any, plugins: str) -> genkit.Handle:
    """Install one of ``PLUGINS``."""
    return genkit.apply(pipe, *map(catalogue.parse, PLUGINS[plugins]))


@cache
def expected(name: str, plugins: str) -> Tensor:
    """Return the video of a pipeline to which nothing was done."""
    pipe = build(name)
    with applied(pipe, plugins):
        return video(name, pipe)


def stock(name: str, *changes: Change) -> Tensor:
    """Return the video that diffusers makes by itself after changes."""
    pipe = build(name)
    for change in changes:
        change(pipe)
    return video(name, pipe)


def routed_videos(handle: genkit.Handle, name: str, count: int = 3) -> list[Tensor]:
    """Make videos in a row, in each of which every layer must be routed as often as in the first."""
    made, routed = [], []
    for _ in range(count):
        made.append(video(name, handle.pipe))
        routed.append(dict(handle.session.run.routed))
    assert len(routed[0]) == len(handle.session.layers)
    assert all(one == routed[0] for one in routed)
    return made


def all_equal(videos: Sequence[Tensor], wanted: Tensor) -> bool:
    """Return True if all videos are ``wanted``, bit for bit."""
    return all(torch.equal(one, wanted) for one in videos)


def check_change(name: str, plugins: str, change: Change) -> Tensor:
    """Check a change before and inside ``apply``: three equal videos each, stock after removal; return the first."""
    plain, before, inside = stock(name, change), build(name), build(name)
    change(before)
    with applied(before, plugins) as handle:
        first, *others = routed_videos(handle, name)
    assert all_equal(others, first), "a later video differs"
    assert torch.equal(video(name, before), plain), "something stayed behind"
    with applied(inside, plugins) as handle:
        assert torch.equal(video(name, inside), expected(name, plugins))
        change(inside)
        assert all_equal(routed_videos(handle, name), first), "inside is not as before"
    assert torch.equal(video(name, inside), plain), "something stayed behind"
    if plugins == "nothing":
        assert torch.equal(first, plain), "routing alone changed the video"
    return first
