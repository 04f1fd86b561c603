"""The suite of the oracle: painted clips are right where they show what was asked, and wrong where they do not."""

from typing import Any

import numpy as np
import pytest
import torch

from genkit.benchmarks.metric import Sample
from genkit.benchmarks.sprites import SUITE
from genkit.errors import GenkitError
from genkit.tiny.world import EXAMPLE, caption, parse, render
from genkit.video import Video


@pytest.fixture(scope="module")
def clip() -> Video:
    frames = render([EXAMPLE], torch.Generator().manual_seed(0), num_frames=17, side=64)[0]
    return Video(frames, 8.0)


def values(video: Video, prompt: str) -> dict[str, float | None]:
    sample = Sample(video, prompt)
    return {metric.name: metric.measure(sample).value for metric in SUITE.metrics}


def test_a_painted_clip_is_right_in_everything(clip: Video) -> None:
    assert values(clip, caption(EXAMPLE)) == {
        f"sprites.{name}": 1.0 for name in ("color", "shape", "size", "motion", "background", "joint")
    }


def test_a_wrong_colour_is_wrong_in_colour_and_jointly(clip: Video) -> None:
    prompt = caption(EXAMPLE).replace("red", "green")
    assert parse(prompt).things[0].color == "green"
    found = values(clip, prompt)
    assert [name for name, value in found.items() if value == 0] == ["sprites.color", "sprites.joint"]


def test_a_longer_clip_counts_its_windows(clip: Video) -> None:
    """The second window stands still, so that its motion is wrong."""
    frames = np.concatenate([clip.frames, np.repeat(clip.frames[-1:], 16, axis=0)])
    sample = Sample(Video(frames, 8.0), caption(EXAMPLE))
    motion = next(metric for metric in SUITE.metrics if metric.name == "sprites.motion").measure(sample)
    assert (motion.sum, motion.weight, motion.curve) == (1.0, 2.0, (1.0, 0.0))


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [(None, "no single prompt is stored in the file"), ("a dog", "'a dog' is no sentence of the tiny world")],
)
def test_a_prompt_that_says_nothing_to_the_oracle(clip: Video, prompt: Any, reason: str) -> None:
    with pytest.raises(GenkitError, match=reason):
        SUITE.metrics[0].measure(Sample(clip, prompt))


def test_each_question_has_an_identity_of_its_own() -> None:
    assert len({str(metric.identity()) for metric in SUITE.metrics}) == len(SUITE.metrics)
