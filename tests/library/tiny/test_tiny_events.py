"""The oracle of World 2: windows of endless motions, and things that turn into others."""

import pytest
import torch
from torch import Tensor

from genkit.tiny.ceiling import exact_results, table
from genkit.tiny.events import answers, find_event, read_event
from genkit.tiny.motions import MOTIONS, WORLDS
from genkit.tiny.oracle import prepare
from genkit.tiny.tally import held_out_scenes, summarise
from genkit.tiny.world import Look, Scene, Thing, parse, render, tracks

WORLD = WORLDS[2]
EVENT = parse("a medium red circle moves right, then turns into a blue square on a navy background")


def clip(scene: Scene, num_frames: int = 33, seed: int = 4) -> Tensor:
    return render([scene], torch.Generator().manual_seed(seed), num_frames=num_frames, side=64, world=WORLD)[0]


@pytest.mark.parametrize("frames", [33, 65])
def test_exact_clips_are_read_right_in_every_window(frames):
    rows = summarise(exact_results(held_out_scenes(30, 1, WORLD), WORLD, frames, 1))
    assert list(rows) == ["one thing", "two things", "an event", "all"]
    assert all(row["joint"].share >= 0.98 for row in rows.values()), rows


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_window_of_sixteen_times_the_native_length_shows_the_motion(motion):
    scene = Scene((Thing("medium", "pink", "star", motion),), "navy")
    found = answers(clip(scene, 513), scene, WORLD)
    assert len(found) == 16 and all(answer["joint"] for answer in found)


def test_the_moment_of_an_event_is_found():
    for seed in range(6):
        (track,) = tracks(EVENT, 129, torch.Generator().manual_seed(seed), WORLD)
        assert find_event(prepare(clip(EVENT, 129, seed))) == track.change


def test_an_event_is_read_before_and_after():
    (thing,) = read_event(clip(EVENT), WORLD).things
    assert (thing.color, thing.shape, thing.motion, thing.then) == ("red", "circle", "right", Look("blue", "square"))


def test_the_order_of_an_event_and_each_of_its_words_count():
    frames = clip(EVENT)
    assert answers(frames, EVENT, WORLD)[0]["joint"]
    for text, wrong in (
        ("a medium blue square moves right, then turns into a red circle on a navy background", {"color", "shape"}),
        ("a medium red circle moves right, then turns into a blue star on a navy background", {"shape"}),
        ("a medium red circle moves right, then turns into a green square on a navy background", {"color"}),
        ("a medium red circle moves left, then turns into a blue square on a navy background", {"motion"}),
        ("a medium red circle moves right on a navy background", {"color", "shape"}),
    ):
        answer = answers(frames, parse(text), WORLD)[0]
        assert not answer["joint"] and wrong <= {name for name, right in answer.items() if not right}, text


def test_a_thing_that_does_not_change_is_not_an_event():
    plain = parse("a medium red circle moves right on a navy background")
    frames = clip(plain)
    assert find_event(prepare(frames)) is None
    answer = answers(frames, EVENT, WORLD)[0]
    assert not answer["color"] and not answer["shape"] and answer["motion"]


def test_two_colours_at_once_are_not_an_event():
    both = parse("a small red circle moves right and a small blue star spins on a navy background")
    assert find_event(prepare(clip(both))) is None


def test_slower_and_reversed_motions_are_not_those_of_the_prompt():
    scene = parse("a medium red circle moves right on a navy background")
    frames = clip(scene, 129)
    slow = frames[:33].repeat_interleave(4, 0)[:33]
    reverse = frames[:33].flip(0)
    assert answers(reverse, parse("a medium red circle moves left on a navy background"), WORLD)[0]["joint"]
    assert not answers(reverse, scene, WORLD)[0]["motion"]
    assert not answers(slow, scene, WORLD)[0]["motion"]


def test_the_ceiling_is_printed_for_every_length(monkeypatch):
    monkeypatch.setattr("genkit.tiny.ceiling.TIMES", (1, 2))
    lines = table(WORLD, 3, 0).splitlines()
    assert lines[0].split()[:3] == ["joint,", "in", "%"] and "an event" in lines[0]
    assert [line.split()[:2] for line in lines[1:]] == [["33", "frames"], ["65", "frames"]]
