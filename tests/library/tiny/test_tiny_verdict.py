"""The verdict on a clip: exact clips of the world get what a person would say of them."""

import numpy as np
import pytest
import torch

from genkit.tiny.verdict import Verdict, verdict
from genkit.tiny.world import parse, render


def clip(prompt: str, frames: int = 17) -> np.ndarray:
    made = render([parse(prompt)], torch.Generator().manual_seed(1), num_frames=frames, side=64)
    return made[0].movedim(1, -1).numpy()


RIGHT = "a large red circle moves right on a navy background"
STILL = "a large red circle stays still on a navy background"


def test_a_clip_that_moves_and_one_that_does_not():
    assert verdict(clip(RIGHT), RIGHT) == Verdict(1, 1, 1)
    assert verdict(clip(STILL), STILL) == Verdict(1, 1, 0)
    assert str(verdict(clip(RIGHT), RIGHT)) == "moves: yes (1 of 1 windows), shape kept: 1 of 1"


def test_a_frozen_long_video_keeps_its_shape_and_does_not_move():
    frozen = np.repeat(clip(RIGHT)[:1], 65, 0)
    assert verdict(frozen, RIGHT) == Verdict(17, 17, 0)
    assert not verdict(frozen, RIGHT).moves


def test_a_way_that_takes_four_times_as_long_is_a_motion_in_every_window():
    slow = clip(RIGHT, 17).repeat(4, 0)[:65]
    assert verdict(slow, RIGHT).moves


def test_another_thing_is_not_the_one_asked_for():
    assert verdict(clip("a large green star moves right on a navy background"), RIGHT).kept == 0


def test_with_two_prompts_a_window_shows_either():
    one, other = clip(STILL), clip("a large blue square moves right on a navy background")
    said = verdict(np.concatenate([one, other[:16]]), f"{STILL} | a large blue square moves right on a navy background")
    assert said.kept >= 2 and said.windows == 6


def test_a_prompt_of_another_world_is_refused():
    with pytest.raises(ValueError, match="elephant"):
        verdict(clip(RIGHT), "an elephant")
