"""Several videos at once: each is the one that is made alone, whatever a method remembers between calls."""

from functools import cache
from typing import Any
from unittest import mock

import families
import pytest
import torch
from sparse_settings import SPARSE, short_native, text
from torch import Tensor

import genkit
from genkit.plugins import catalogue

PROMPTS = ("a red circle moves right", "a blue square moves left", "a")
"""Of equal and different lengths: Mochi drops the padding of each."""
TRANSFORMERS = ["wan", "hunyuan", "cogvideox", "ltx", "mochi"]
REMEMBERING = {name: text(SPARSE, name) for name in ("adaspa", "svg2")}
RECALL = {name: text(SPARSE, name) + ",recall=0.7" for name in ("adaspa", "sparge")}
"""Which setting is needed is found out in the first sparse step, for each video."""
OTHERS = {name: text(SPARSE, name) for name in SPARSE if name not in REMEMBERING}
LONG = {"freenoise": "freenoise:window=4,stride=2", "freelong": "freelong"}
UNGUIDED = {"guidance_scale": 1.0, "true_cfg_scale": 1.0}


@pytest.fixture(autouse=True)
def long_clips() -> Any:
    """Every clip is longer than what the model is said to be trained on."""
    with mock.patch("genkit.generation.context.card_of", short_native):
        yield


def made(family: str, plugin: str | None, guided: bool, seeds: tuple[int, ...]) -> Tensor:
    """Latents of one call of a pipeline, a video for each seed."""
    arguments = families.call_arguments(family)
    arguments |= {} if guided else {key: value for key, value in UNGUIDED.items() if key in arguments}
    arguments["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
    arguments["prompt"] = [PROMPTS[seed] for seed in seeds]
    arguments["negative_prompt"] = [families.NEGATIVE] * len(seeds)
    pipe = families.FAMILIES[family]()
    with genkit.apply(pipe, *([] if plugin is None else [catalogue.parse(plugin)])) as handle:
        handle.begin_run(fps=16)
        found: Tensor = pipe(**arguments).frames
        run = handle.session.run
    if run.densities:
        assert sum(run.backends.values()) == sum(run.routed.values()), "every call is counted once"
    assert all(min(map(float, densities)) < 1 for densities in run.densities.values())
    return found


@cache
def alone(family: str, plugin: str | None, guided: bool, seed: int) -> Tensor:
    """The only video of a call."""
    return made(family, plugin, guided, (seed,))[0]


def difference(family: str, plugin: str | None, guided: bool, videos: int) -> float:
    """The largest difference between a video of a batch and the same made alone."""
    batch = made(family, plugin, guided, tuple(range(videos)))
    return max(float((batch[i] - alone(family, plugin, guided, i)).abs().max()) for i in range(videos))


@cache
def rounding(family: str, guided: bool, videos: int) -> float:
    """What the pipeline itself changes when it makes several: products of more rows round otherwise."""
    return difference(family, None, guided, videos) + float(torch.finfo(torch.float32).eps)


def check(family: str, plugin: str, guided: bool, videos: int) -> None:
    """A method may change ten times as much: the sums that it leaves out round as well."""
    assert difference(family, plugin, guided, videos) <= 10 * rounding(family, guided, videos)


@pytest.mark.parametrize("plugin", REMEMBERING.values(), ids=REMEMBERING)
@pytest.mark.parametrize("family", TRANSFORMERS)
def test_a_method_that_remembers_tells_three_videos_apart(family: str, plugin: str) -> None:
    check(family, plugin, True, 3)


@pytest.mark.parametrize("family", ["wan", "mochi"])
@pytest.mark.parametrize("plugin", RECALL.values(), ids=RECALL)
def test_a_recall_is_kept_by_each_video_as_if_it_were_alone(family: str, plugin: str) -> None:
    check(family, plugin, True, 2)


@pytest.mark.parametrize("videos", [2, 3])
@pytest.mark.parametrize("plugin", REMEMBERING.values(), ids=REMEMBERING)
def test_mochi_without_guidance(plugin: str, videos: int) -> None:
    """It attends to one video at a time, and here not even the branches of guidance tell them apart."""
    check("mochi", plugin, False, videos)


@pytest.mark.parametrize("plugin", OTHERS.values(), ids=OTHERS)
def test_the_other_sparse_methods(plugin: str) -> None:
    check("mochi", plugin, True, 2)


@pytest.mark.parametrize("family", ["wan", "ltx", "animatediff"])
@pytest.mark.parametrize("plugin", LONG.values(), ids=LONG)
def test_long_videos_with_a_generator_each(family: str, plugin: str) -> None:
    check(family, plugin, True, 2)
