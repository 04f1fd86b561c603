"""World 2: every motion goes on, at the same speed whatever the clip's length, and no moment differs from another."""

from math import pi

import pytest
import torch

from genkit.tiny.motions import FPS, MOTIONS, WORLDS, Track
from genkit.tiny.world import Scene, Thing, tracks

WORLD = WORLDS[2]
SWEEP = round(WORLD.sweep_seconds * FPS)
LONG = 1 + 16 * (WORLD.native_frames - 1)


def track_of(motion: str, num_frames: int, seed: int = 3) -> Track:
    scene = Scene((Thing("small", "red", "square", motion),), "white")
    return tracks(scene, num_frames, torch.Generator().manual_seed(seed), WORLD)[0]


def signals(track: Track) -> torch.Tensor:
    turn = torch.stack([track.angle.sin(), track.angle.cos()])
    return torch.cat([torch.stack([track.x, track.y, track.radius]), turn])


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_long_clip_begins_as_a_short_one_so_that_speed_does_not_depend_on_length(motion):
    short, long = signals(track_of(motion, 33)), signals(track_of(motion, LONG))
    torch.testing.assert_close(short, long[:, :33])


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_goes_on_unchanged_to_sixteen_times_the_native_length(motion):
    found = signals(track_of(motion, LONG))
    period = 4 * FPS if motion == "spin" else SWEEP  # a bounce takes half a sweep
    torch.testing.assert_close(found[:, :-period], found[:, period:], atol=2e-4, rtol=0)
    if motion != "still":
        assert (found[:, -33:].amax(1) - found[:, -33:].amin(1)).max() > 0.05, "it still moves in the last window"


@pytest.mark.parametrize(
    ("motion", "name", "sign"),
    [("right", "x", 1), ("left", "x", -1), ("down", "y", 1), ("up", "y", -1), ("grow", "radius", 1)]
    + [("shrink", "radius", -1)],
)
def test_a_sweep_goes_three_quarters_of_the_time_the_way_of_its_verb(motion, name, sign):
    step = sign * getattr(track_of(motion, 1 + 4 * SWEEP), name).diff()
    assert 0.7 <= float((step > 0).float().mean()) <= 0.8
    assert float(step.min()) < -2.5 * float(step.max()), "it returns three times as fast"


def test_a_clip_begins_at_any_moment_of_a_motion():
    starts = torch.stack([track_of("right", 1, seed).x[0] for seed in range(400)])
    middle = torch.stack([track_of("right", 100, seed).x[-1] for seed in range(400)])
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert float((starts.quantile(quantile) - middle.quantile(quantile)).abs()) < 0.05
    assert float(starts.max() - starts.min()) > 0.4
    angles = torch.stack([track_of("spin", 1, seed).angle[0] for seed in range(400)])
    assert float(angles.min()) < -0.9 * pi and float(angles.max()) > 0.9 * pi
