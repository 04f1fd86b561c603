"""The procedural world: what captions, tracks and pictures promise."""

from itertools import product
from math import pi

import pytest
import torch

from genkit.tiny.motions import MOTIONS, PACKAGED, WORLDS
from genkit.tiny.shapes import ROUND, SHAPES, coverage
from genkit.tiny.world import (
    BACKGROUNDS,
    COLORS,
    SIZES,
    Look,
    Scene,
    Thing,
    caption,
    draw_scene,
    parse,
    render,
    tracks,
    vocabulary,
)


def drawn(count: int, things: int, held_out: bool = False, seed: int = 0, event: bool = False) -> list[Scene]:
    generator = torch.Generator().manual_seed(seed)
    return [draw_scene(generator, things=things, held_out=held_out, event=event) for _ in range(count)]


def alone(motion: str, shape: str = "square") -> Scene:
    return Scene((Thing("small", "red", shape, motion),), "white")


def track_of(motion: str, num_frames: int = 17):
    return tracks(alone(motion), num_frames, torch.Generator().manual_seed(3))[0]


def test_the_world_is_as_large_as_promised():
    assert (len(SHAPES), len(COLORS), len(BACKGROUNDS), len(SIZES), len(MOTIONS)) == (6, 8, 6, 3, 10)


@pytest.mark.parametrize("things", [1, 2])
@pytest.mark.parametrize("background_last", [True, False])
def test_captions_parse_back(things, background_last):
    for scene in drawn(200, things):
        assert parse(caption(scene, background_last=background_last)) == scene


def test_a_size_that_is_not_said_is_medium():
    for scene, background_last in product(drawn(50, 2), [True, False]):
        read = parse(caption(scene, sizes=False, background_last=background_last))
        assert read.background == scene.background
        for got, thing in zip(read.things, scene.things, strict=True):
            assert got == Thing("medium", thing.color, thing.shape, thing.motion)


def test_captions_read_as_english():
    scene = Scene((Thing("small", "orange", "ring", "orbit"), Thing("medium", "blue", "star", "up")), "navy")
    assert caption(scene) == "a small orange ring circles around and a medium blue star moves up on a navy background"
    assert caption(scene, sizes=False, background_last=False) == (
        "an orange ring circles around on a navy background and a blue star moves up"
    )


EVENT = Scene((Thing("small", "red", "circle", "right", Look("orange", "square")),), "navy")


def test_an_event_reads_as_english_and_parses_back_with_and_without_the_comma():
    text = "a small red circle moves right, then turns into an orange square on a navy background"
    assert caption(EVENT) == text
    assert parse(text) == parse(text.replace(",", "")) == EVENT
    for scene in drawn(200, 1, event=True):
        assert parse(caption(scene)) == scene


def test_events_change_the_colour_and_both_looks_are_held_out_or_neither():
    for held_out in (True, False):
        for scene in drawn(200, 1, held_out, event=True):
            (thing,) = scene.things
            assert thing.then is not None and thing.color != thing.then.color
            later = Thing(thing.size, thing.then.color, thing.then.shape, thing.motion)
            assert thing.held_out == later.held_out == held_out
            assert not (thing.motion == "spin" and {thing.shape, thing.then.shape} & set(ROUND))


def test_a_thing_turns_into_another_at_one_moment_and_moves_on():
    (track,) = tracks(EVENT, 33, torch.Generator().manual_seed(2), WORLDS[2])
    plain = Scene((Thing("small", "red", "circle", "right"),), "navy")
    later = Scene((Thing("small", "orange", "square", "right"),), "navy")
    event, before, after = (
        render([scene], torch.Generator().manual_seed(2), num_frames=33, side=64, world=WORLDS[2])[0]
        for scene in (EVENT, plain, later)
    )
    assert 8 <= track.change <= 25
    assert torch.equal(event[: track.change], before[: track.change])
    assert torch.equal(event[track.change :], after[track.change :])


def test_capitals_and_spaces_do_not_matter():
    assert parse("  A Small RED star\n spins on a  navy background ") == parse(
        "a small red star spins on a navy background"
    )


@pytest.mark.parametrize(
    "text", ["", "a red star spins", "a red dog spins on a navy background", "on a navy background a star"]
)
def test_what_is_no_sentence_of_the_world_is_refused(text):
    with pytest.raises(ValueError, match="not a sentence of the tiny world; an example is 'a large red circle"):
        parse(text)


def test_the_vocabulary_holds_every_word_of_every_caption():
    words = {w for scene in drawn(100, 2) + drawn(100, 1) for w in caption(scene).split()}
    assert words <= set(vocabulary())
    events = {w for scene in drawn(100, 1, event=True) for w in caption(scene).replace(",", "").split()}
    assert events <= set(vocabulary(WORLDS[2])) and events - set(vocabulary(WORLDS[1])) == {"then", "turns", "into"}
    assert vocabulary(WORLDS[2])[: len(vocabulary(WORLDS[1]))] == vocabulary(WORLDS[1]), "old words keep their rows"
    assert PACKAGED is WORLDS[1], "the weights inside the package"


@pytest.mark.parametrize("things", [1, 2])
@pytest.mark.parametrize("held_out", [True, False])
def test_held_out_things_are_drawn_only_on_request(things, held_out):
    for scene in drawn(300, things, held_out):
        assert all(thing.held_out == held_out for thing in scene.things)


def test_about_one_thing_in_ten_is_held_out_whatever_its_size():
    every = [Thing("small", *words) for words in product(COLORS, SHAPES, MOTIONS)]
    assert 0.07 < sum(thing.held_out for thing in every) / len(every) < 0.13
    assert all(Thing("large", t.color, t.shape, t.motion).held_out == t.held_out for t in every)


def test_what_nobody_could_see_is_not_drawn():
    scenes = drawn(500, 1) + drawn(500, 2) + drawn(200, 1, held_out=True)
    things = [(scene, thing) for scene in scenes for thing in scene.things]
    assert not any(thing.motion == "spin" and thing.shape in ROUND for _, thing in things)
    assert not any(thing.size == "large" for scene, thing in things if len(scene.things) == 2)
    assert all(len({thing.color for thing in scene.things}) == len(scene.things) for scene in scenes)


def test_one_seed_gives_one_picture():
    scenes = drawn(3, 2)
    first, again, other = (
        render(scenes, torch.Generator().manual_seed(seed), num_frames=5, side=64) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (3, 5, 3, 64, 64) and first.min() >= 0 and first.max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_is_a_share_and_its_area_does_not_depend_on_place_angle_or_side(shape):
    x, y, radius = torch.tensor([0.5, 0.47]), torch.tensor([0.5, 0.53]), torch.tensor([0.25, 0.25])
    angle = torch.tensor([0.0, 0.7])
    masks = coverage(shape, x, y, radius, angle, 128)
    assert masks.min() == 0 and masks.max() == 1
    area = masks.sum((1, 2)) / 128**2
    torch.testing.assert_close(area[0], area[1], rtol=0.01, atol=0)
    torch.testing.assert_close(coverage(shape, x, y, radius, angle, 64).sum((1, 2)) / 64**2, area, rtol=0.03, atol=0)


ANALYTIC = {
    "circle": pi * 0.98**2,
    "square": (2 * 0.84) ** 2,
    "triangle": 3 * 3**0.5 / 4 * 1.2**2,
    "ring": pi * (1.02**2 - 0.54**2),
    "cross": 2 * (2 * 0.68) - 0.68**2,
}


@pytest.mark.parametrize("shape", ANALYTIC)
def test_areas_are_those_of_geometry(shape):
    one = torch.tensor([0.5])
    area = float(coverage(shape, one, one, torch.tensor([0.3]), torch.zeros(1), 256).mean()) / 0.3**2
    assert area == pytest.approx(ANALYTIC[shape], rel=0.01)


def test_motions_do_what_their_names_say():
    right, left, down, up = (track_of(motion) for motion in ("right", "left", "down", "up"))
    assert (right.x.diff() > 0).all() and (left.x.diff() < 0).all()
    assert (down.y.diff() > 0).all() and (up.y.diff() < 0).all()
    for sideways, upright in ((right, down), (left, up)):
        assert sideways.y.unique().numel() == 1 and upright.x.unique().numel() == 1
    assert (track_of("grow").radius.diff() > 0).all() and (track_of("shrink").radius.diff() < 0).all()
    assert (track_of("spin").angle.diff() > 0).all()
    assert float(track_of("spin").angle[-1] - track_of("spin").angle[0]) == pytest.approx(pi, rel=1e-5)


def test_still_is_still():
    still = track_of("still")
    assert all(signal.unique().numel() == 1 for signal in (still.x, still.y, still.radius, still.angle))


def test_an_orbit_is_a_circle_that_closes():
    orbit = track_of("orbit")
    reach = ((orbit.x - orbit.x[:16].mean()).square() + (orbit.y - orbit.y[:16].mean()).square()).sqrt()
    assert float(reach.std() / reach.mean()) < 1e-3
    assert float((orbit.x[0] - orbit.x[16]).abs() + (orbit.y[0] - orbit.y[16]).abs()) < 1e-5


def test_a_bounce_goes_up_and_down_twice_and_not_sideways():
    bounce = track_of("bounce", 33)
    torch.testing.assert_close(bounce.y[:25], bounce.y[8:])  # half a clip is one bounce
    assert float(bounce.y.max() - bounce.y.min()) > 0.25 and bounce.x.unique().numel() == 1


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: f"world {world.version}")
def test_two_things_never_touch_and_the_first_named_stands_above_and_left(world):
    generator = torch.Generator().manual_seed(5)
    for scene in drawn(200, 2):
        first, second = tracks(scene, world.native_frames, generator, world)
        masks = [
            coverage(thing.shape, t.x, t.y, t.radius, t.angle, 64)
            for thing, t in zip(scene.things, (first, second), strict=True)
        ]
        assert float((masks[0] * masks[1]).max()) < 0.5, f"in {caption(scene)!r} they touch"
        assert float(second.x[8] - first.x[8]) > 0.05 and float(second.y[8] - first.y[8]) > 0.05


@pytest.mark.parametrize("world", WORLDS.values(), ids=lambda world: f"world {world.version}")
def test_all_stays_in_the_frame_but_for_two_pixels(world):
    generator = torch.Generator().manual_seed(6)
    for scene in drawn(100, 1) + drawn(200, 2):
        for thing, t in zip(scene.things, tracks(scene, world.native_frames, generator, world), strict=True):
            mask = coverage(thing.shape, t.x, t.y, t.radius, t.angle, 64).sum((1, 2))
            whole = coverage(thing.shape, t.x * 0 + 0.5, t.y * 0 + 0.5, t.radius, t.angle, 64).sum((1, 2))
            assert (mask / whole).min() > 0.93, f"a part of {thing} is cut off in {caption(scene)!r}"


def test_how_a_thing_moves_beside_another_depends_on_its_own_words_alone():
    star = Thing("small", "blue", "star", "up")
    paths = [
        tracks(Scene((star, Thing("medium", "red", shape, motion)), "white"), 17, torch.Generator().manual_seed(3))[0]
        for shape, motion in (("ring", "left"), ("square", "bounce"))
    ]
    assert torch.equal(paths[0].x, paths[1].x) and torch.equal(paths[0].y, paths[1].y)


def test_a_longer_clip_starts_like_a_short_one():
    for motion in MOTIONS:
        short, long = track_of(motion, 17), track_of(motion, 65)
        torch.testing.assert_close(short.x, long.x[:17])
        torch.testing.assert_close(short.radius, long.radius[:17])
