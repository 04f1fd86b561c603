"""VBench's formulas and preparations, with every number worked out by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from genkit.benchmarks.evaluate.stats import Stat
from genkit.benchmarks.measures.preprocessing import CLIP, IMAGENET, clip_224, dino_224, longer_512
from genkit.benchmarks.suites.vbench_formulas import (
    Mode,
    consistency_from_features,
    dynamic_in,
    flicker,
    frames_at_8_fps,
    pad_to,
    smoothness,
    smoothness_in,
    speed,
    to_uint8_cut,
)
from genkit.errors import GenkitError


def grey(*levels: float, side: int = 4) -> NDArray[np.uint8]:
    """Frames of one grey level each."""
    return np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])


def mean(before: Tensor, after: Tensor) -> Tensor:
    return (before + after) / 2


# Consistency


def test_consistency_by_hand() -> None:
    """Cosines to the frame before and to the first: 1 and 1, then 1/2 and 1/2, then 0 and -1/2, which counts as 0."""
    turned = [(1.0, 0.0), (2.0, 0.0), (0.5, 3**0.5 / 2), (-(3**0.5), 1.0)]
    stat = consistency_from_features(torch.tensor(turned))
    assert stat.curve == pytest.approx((1, 0.5, 0), abs=1e-6)
    assert (stat.sum, stat.weight) == pytest.approx((1.5, 3))


def test_a_frozen_clip_is_consistent_whatever_its_feature() -> None:
    feature = torch.randn(1, 7, generator=torch.Generator().manual_seed(0))
    assert consistency_from_features(feature.expand(5, 7)).value == pytest.approx(1, abs=1e-12)
    assert consistency_from_features(torch.zeros(3, 7)).value == 0


# Flicker


def test_flicker_by_hand() -> None:
    assert flicker(grey(80, 80, 80)).value == 1
    assert flicker(grey(0, 255, 0)).value == 0
    frames = grey(10, 10, 10)
    frames[2, ..., 1] = 61  # one colour of three by 51 levels, in one pair of two
    assert flicker(frames).value == pytest.approx(1 - 51 / 255 / 3 / 2)


def test_a_strobe_is_worse_than_a_fade() -> None:
    assert flicker(grey(0, 255, 0, 255)).value < flicker(grey(0, 85, 170, 255)).value  # type: ignore[operator]


# Motion smoothness


def test_even_motion_is_smooth() -> None:
    for count in (3, 4, 5, 8):
        stat = smoothness(grey(*range(0, 10 * count, 10)), mean)
        assert stat.value == 1 and smoothness_in("fixed", stat).value == 1


def test_the_last_of_an_even_number_of_frames() -> None:
    """Frames 0, 10, 20, 90: the official pair (0, 20) meets 10; the last one, (10, 90) -> 50, misses 20 by 30."""
    stat = smoothness(grey(0, 10, 20, 90), mean)
    assert stat.curve == pytest.approx((1, 1 - 30 / 255))
    assert smoothness_in("vbench-0.1.5", stat).value == 1
    assert smoothness_in("fixed", stat).value == pytest.approx(1 - 15 / 255)


def test_of_an_odd_number_every_second_frame_counts_in_both_modes() -> None:
    """Frames 0, 20, 20, 20, 40: the means 10 and 30 each miss by 10; frame 2 itself is never looked at."""
    stat = smoothness(grey(0, 20, 20, 20, 40), mean)
    for mode in ("vbench-0.1.5", "fixed"):
        assert smoothness_in(mode, stat).value == pytest.approx(1 - 10 / 255)


def test_the_made_frame_is_cut_to_whole_levels() -> None:
    made = torch.full((1, 3, 4, 4), 10.9 / 255)
    assert smoothness(grey(0, 11, 0), lambda a, b: made).value == pytest.approx(1 - 1 / 255)
    values = torch.tensor([-0.1, 0.5, 1.2]).view(1, 3, 1, 1)
    assert to_uint8_cut(values).tolist() == [[[0, 127, 255]]]


def test_two_frames_have_none_between_them() -> None:
    with pytest.raises(GenkitError, match="motion smoothness needs at least 3 frames; the video has 2"):
        smoothness(grey(0, 1), mean)


# Dynamic degree


@pytest.mark.parametrize(
    ("frames", "official", "fixed"), [(2, 0, 1), (4, 1, 1), (6, 2, 2), (10, 2, 3), (14, 4, 4), (16, 4, 4), (18, 4, 5)]
)
def test_how_many_pairs_have_to_move(frames: int, official: int, fixed: int) -> None:
    """A quarter of the frames: 0.5, 1, 1.5, 2.5, 3.5, 4, 4.5, rounded to the even number or up."""
    modes: tuple[tuple[Mode, int], ...] = (("vbench-0.1.5", official), ("fixed", fixed))
    for mode, needed in modes:
        for moving in range(frames):
            speeds = [6.1] * moving + [6.0] * (frames - 1 - moving)  # 6 itself is not moving
            assert dynamic_in(mode, speeds) == Stat(float(moving >= needed), 1.0, tuple(speeds))


def test_one_frame_says_nothing() -> None:
    assert dynamic_in("vbench-0.1.5", []).value == 0
    assert dynamic_in("fixed", []).value is None


def test_the_speed_is_that_of_the_fastest_twentieth() -> None:
    flow = np.zeros((2, 10, 20), np.float32)
    flow[0, 0, :10], flow[1, 0, :10] = 3, 4  # 10 of 200 pixels, by 5 pixels each
    assert speed(flow, 256) == 5 and speed(flow, 128) == 10
    flow[:, 0, 9] = 0
    assert speed(flow, 256) == 4.5
    assert speed(flow[:, :, :19], 256) == 5  # int(190 / 20) = 9


@pytest.mark.parametrize(("fps", "step"), [(3, 1), (8, 1), (12, 2), (16, 2), (20, 2), (24, 3), (28, 4), (60, 8)])
def test_about_eight_frames_a_second_are_looked_at(fps: float, step: int) -> None:
    """12 / 8 = 1.5 and 28 / 8 = 3.5 become the even 2 and 4, and so does 20 / 8 = 2.5."""
    assert frames_at_8_fps(np.arange(20), fps).tolist() == list(range(0, 20, step))


def test_padding_repeats_the_border_and_is_found_again() -> None:
    """30 x 35 becomes 32 x 48: one row above and below, 6 columns left and 7 right."""
    image = torch.arange(30.0 * 35).view(1, 1, 30, 35)
    grown, (rows, columns) = pad_to(image, 16)
    assert grown.shape[-2:] == (32, 48) and (rows.start, columns.start) == (1, 6)
    assert torch.equal(grown[..., rows, columns], image)
    assert grown[0, 0, 0, 0] == 0 and grown[0, 0, -1, -1] == 30 * 35 - 1
    assert pad_to(image[..., :16, :32], 16)[0].shape[-2:] == (16, 32)


# Preparations


def column(width: int, at: int, height: int = 224) -> NDArray[np.uint8]:
    """A black frame with one white column."""
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[:, :, at] = 255
    return frame


def level(prepared: Tensor, normal: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """The middle row of the first frame in [0, 1]."""
    return prepared[0, 0, 112] * normal[1][0] + normal[0][0]


def test_dino_takes_two_of_four_pixels_and_no_more() -> None:
    """Four to one without antialiasing: pixel i is the mean of 4i + 1 and 4i + 2, and what lies at 4i is lost."""
    for at, share in ((400, 0), (401, 0.5), (402, 0.5), (403, 0)):
        row = level(dino_224(column(896, at, height=896)), IMAGENET)
        assert float(row[100]) == pytest.approx(share, abs=1e-6)
        assert float(row.sum()) == pytest.approx(share, abs=1e-4)


def test_dino_keeps_the_whole_width() -> None:
    assert dino_224(np.zeros((2, 256, 448, 3), np.uint8)).shape == (2, 3, 224, 392)
    assert dino_224(np.zeros((1, 480, 854, 3), np.uint8)).shape == (1, 3, 224, 398)  # 398.53 rounded down
    assert dino_224(np.zeros((1, 448, 256, 3), np.uint8)).shape == (1, 3, 392, 224)


def test_dino_s_colours() -> None:
    frame = np.zeros((1, 224, 224, 3), np.uint8)
    frame[:] = (255, 0, 51)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert dino_224(frame)[0, :, 5, 5].tolist() == pytest.approx(expected, abs=1e-5)


def test_clip_s_bicubic_overshoots_and_keeps_it() -> None:
    """Two to one, between two pixels: weights -3/32, 19/32, 19/32, -3/32; pixel 100 reads 199 to 202."""
    frame = np.zeros((1, 448, 448, 3), np.uint8)
    frame[:, :, 201:] = 255
    assert level(clip_224(frame), CLIP)[99:102].tolist() == pytest.approx([0, 16 / 32, 1], abs=1e-5)
    frame[:, :, 201] = 0
    assert level(clip_224(frame), CLIP)[100:103].tolist() == pytest.approx([-3 / 32, 1 + 3 / 32, 1], abs=1e-5)


def test_clip_takes_the_middle_and_rounds_a_half_to_the_even_pixel() -> None:
    assert clip_224(np.zeros((3, 256, 448, 3), np.uint8)).shape == (3, 3, 224, 224)
    for width, left in ((229, 2), (231, 4), (230, 3)):  # (229 - 224) / 2 = 2.5, (231 - 224) / 2 = 3.5
        row = level(clip_224(column(width, left)), CLIP)
        assert int(row.argmax()) == 0 and float(row[0]) == pytest.approx(1, abs=1e-5)


def test_only_a_side_above_512_is_made_smaller() -> None:
    assert longer_512(np.zeros((1, 300, 512, 3), np.uint8)).shape == (1, 3, 300, 512)
    assert longer_512(np.zeros((1, 480, 854, 3), np.uint8)).shape == (1, 3, int(480 * (512 / 854)), 512)
    assert longer_512(np.zeros((1, 1024, 600, 3), np.uint8)).shape == (1, 3, 512, 300)
    assert float(longer_512(np.full((1, 8, 8, 3), 51, np.uint8)).max()) == pytest.approx(0.2)


def test_two_to_one_is_the_mean_of_two_for_musiq() -> None:
    found = longer_512(column(1024, 400, height=600))[0, 0, 100]
    assert float(found[200]) == pytest.approx(0.5) and math.isclose(float(found.sum()), 0.5, abs_tol=1e-5)
