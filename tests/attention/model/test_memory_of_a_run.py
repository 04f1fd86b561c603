"""What is remembered: nothing of one window, branch, layer or run is found in another."""

from dataclasses import replace

import pytest
import torch
from sparse_settings import SPARSE, made

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.windows import Window
from genkit.attention.planning.rule import SparseRule
from genkit.plugins.contract import Target

GRID = VideoGrid(frames=4, rows=4, cols=4)
TARGET = Target(family="f", title="Some Model", native_frames=3, kinds=frozenset({"self", "cross"}))


def call_of(**changes):
    call = Call(layer="blocks.1.attn1", depth=1, kind="self", grid=GRID, step=Step(index=1, total=4), run=RunRecord())
    return replace(call, **changes)


def in_window(call, begin):
    return replace(call, window=Window(begin, begin + 4, 8), grid=replace(GRID, start=begin))


@pytest.mark.parametrize("change", [
    {"model": "transformer_2"},
    {"layer": "blocks.2.attn1"},
    {"number": 1},
    {"video": 1},
    {"visible": torch.ones(4, 4, dtype=torch.bool)},
    {"step": Step(index=1, total=4, branches=("uncond",))},
    {"window": Window(0, 4, 8)},
    {"grid": replace(GRID, start=2)},
])  # fmt: skip
def test_everything_that_a_state_depends_on_is_in_its_key(change):
    assert call_of(**change).place != call_of().place
    assert call_of(step=Step(index=3, total=4)).place == call_of().place


def test_windows_that_begin_at_one_frame_of_the_video_are_told_apart():
    """A window inside attention may begin where a window of the whole model does."""
    first, second = in_window(call_of(), 0), in_window(call_of(), 2)
    assert first.crop(2, 4).grid.start == second.crop(0, 2).grid.start
    assert first.crop(2, 4).place != second.crop(0, 2).place


@pytest.mark.parametrize("name", list(SPARSE))
def test_a_planner_in_two_windows_gives_what_it_gives_in_each_alone(name):
    """Two steps, since what is remembered counts in the second."""
    (rule,) = made(SPARSE, name).parts(TARGET).rules
    assert isinstance(rule, SparseRule)
    draw = torch.Generator().manual_seed(0)
    tensors = {(begin, step): torch.randn(3, 1, 2, 64, 16, generator=draw) for step in (1, 2) for begin in (0, 4)}

    def outputs(begins):
        call, attend = call_of(), rule.wrap(dense)
        return {
            (begin, index): attend(
                *tensors[begin, index], in_window(replace(call, step=Step(index=index, total=4)), begin)
            )
            for index in (1, 2)
            for begin in begins
        }

    both = outputs((0, 4))
    for begin in (0, 4):
        for key, alone in outputs((begin,)).items():
            assert torch.equal(both[key], alone), key
