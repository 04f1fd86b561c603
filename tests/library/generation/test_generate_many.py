"""Several videos of one call: each is the one that it would be alone, with a recipe of its own."""

from typing import Any

import numpy as np
import pytest
import torch

import genkit
from genkit.checks.takes import takes_of
from genkit.making import make
from genkit.request import Request
from genkit.schedulers.seeds import LARGEST

SMALL = {"num_frames": 5, "height": 32, "width": 32, "num_inference_steps": 2}
RED, BLUE = "a large red circle moves right", "a small blue square"


@pytest.fixture(scope="module")
def tiny() -> Any:
    return genkit.load("tiny")


def test_every_video_is_the_one_that_its_recipe_makes_alone(tiny: Any) -> None:
    videos = genkit.generate_many(tiny, [RED, BLUE], num_videos_per_prompt=2, seed=7, **SMALL)
    assert [(video.request["prompt"], video.request["seed"]) for video in videos] == [
        (RED, 7),
        (RED, 8),
        (BLUE, 7),
        (BLUE, 8),
    ]
    for video in videos:
        assert video.receipt is not None and video.receipt.seed == video.request["seed"]
        again = make(Request.model_validate(video.request), pipe=tiny)
        assert np.array_equal(video.frames, again.frames)
    assert len({video.frames.tobytes() for video in videos}) == 4


def test_receipts_are_those_of_all(tiny: Any) -> None:
    with genkit.apply(tiny) as handle:
        videos = handle.generate_many(RED, seed=[3, 1], **SMALL)
        assert handle.receipts == [video.receipt for video in videos] and handle.last is videos[1]


def test_a_generator_is_its_seed(tiny: Any) -> None:
    generators = [torch.Generator().manual_seed(5), torch.Generator("cpu").manual_seed(9)]
    videos = genkit.generate_many(tiny, RED, generator=generators, **SMALL)
    alone = [genkit.generate(tiny, RED, seed=seed, **SMALL) for seed in (5, 9)]
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(videos, alone, strict=True))


def test_which_prompts_and_seeds() -> None:
    assert takes_of(RED, 7, None, 3) == [(RED, 7), (RED, 8), (RED, 9)]
    assert takes_of(RED, [4, 4], None, 1) == [(RED, 4), (RED, 4)]
    assert takes_of([RED, BLUE], [1, 2], None, 1) == [(RED, 1), (BLUE, 2)]
    assert takes_of(RED, LARGEST, None, 2) == [(RED, LARGEST), (RED, 0)]
    events = [{"prompt": RED}, {"prompt": BLUE}]
    assert takes_of(events, 7, None, 1) == [(events, 7)], "a list of events is one prompt"
    assert takes_of([events, RED], 7, None, 1) == [(events, 7), (RED, 7)]
    drawn = takes_of(RED, None, None, 2)
    assert drawn[1][1] == drawn[0][1] + 1


def advanced() -> torch.Generator:
    generator = torch.Generator().manual_seed(5)
    torch.rand(1, generator=generator)
    return generator


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((RED, [1, 2], None, 3), "there are 2 seeds for 3 videos"),
        (([RED, BLUE], [1], None, 1), "there are 1 seeds for 2 videos"),
        ((RED, 7, torch.Generator(), 1), "seed=7 and a generator both say"),
        ((RED, None, advanced(), 1), "the generator on cpu is not as a seed .* leaves it"),
        ((RED, None, 5, 1), "generator=5 must be a torch.Generator"),
        ((RED, 7, None, 0), "num_videos_per_prompt=0 must be a whole number"),
        ((RED, "seven", None, 1), "seed='seven' must be a whole number"),
    ],
)
def test_what_cannot_be_several_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(genkit.UsageError, match=sentence):
        takes_of(*arguments)


def test_one_call_makes_one_video_and_names_the_other_way(tiny: Any) -> None:
    with pytest.raises(
        genkit.UsageError, match="num_videos_per_prompt=2 would make more videos than one; generate_many"
    ):
        genkit.generate(tiny, RED, num_videos_per_prompt=2, **SMALL)
