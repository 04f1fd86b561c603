"""The metrics without weights, on clips whose answers are known."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from genkit.benchmarks.evaluate.metric import Sample, Suite
from genkit.benchmarks.measures.change import changes, fast_share, repeats, seam_jumps, steadiness
from genkit.benchmarks.measures.flow import is_dynamic, speeds, step_at_8_fps, warping_error
from genkit.benchmarks.measures.preprocessing import gray_256, gray_blocks
from genkit.benchmarks.suites import lite
from genkit.errors import GenkitError, UsageError
from genkit.video.video import Video

FRAMES, SIDE = 24, 64


def texture(seed: int, width: int = 256) -> NDArray[np.uint8]:
    """Soft spots, ``[SIDE, width, 3]``: enough structure for flow, no single pixels."""
    cells = np.random.default_rng(seed).random((SIDE // 8 + 2, width // 8 + 2, 3))
    for axis, size in ((0, SIDE), (1, width)):
        at = np.arange(size) / 8
        left = at.astype(int)
        share = np.expand_dims(at - left, [i for i in range(3) if i != axis])
        cells = np.take(cells, left, axis) * (1 - share) + np.take(cells, left + 1, axis) * share
    return np.rint(cells * 255).astype(np.uint8)


def pan(seed: int, offsets: Any) -> NDArray[np.uint8]:
    wide = texture(seed)
    return np.stack([wide[:, x : x + SIDE] for x in offsets])


CLIPS = {
    "frozen": pan(0, [0] * FRAMES),
    "loop": pan(0, [3 * (i % 8) for i in range(FRAMES)]),
    "strobe": np.stack([np.full((SIDE, SIDE, 3), 255 * (i % 2), np.uint8) for i in range(FRAMES)]),
    "pan": pan(0, range(0, 3 * FRAMES, 3)),
    "slow": pan(0, range(FRAMES)),
    "cut": np.concatenate([pan(0, range(10)), pan(1, range(14))]),
}


@pytest.fixture(scope="module")
def scores() -> dict[str, dict[str, float | None]]:
    return {clip: {m.name[5:]: m.measure(Sample(Video(frames, 8.0))).value for m in lite.SUITE.metrics}
            for clip, frames in CLIPS.items()}  # fmt: skip


def test_a_frozen_clip_is_perfect_in_consistency_and_has_no_dynamics(scores: Any) -> None:
    assert scores["frozen"] == {
        "flicker": 1, "warping_error": 0, "dynamic_degree": 0, "seam_jump": 1, "repetition": 0, "temporal_hf": 0,
    }  # fmt: skip


def test_a_strobe_is_the_worst_of_flicker(scores: Any) -> None:
    strobe = scores["strobe"]
    assert (strobe["flicker"], strobe["seam_jump"]) == (0, 1)
    assert strobe["repetition"] == pytest.approx((FRAMES - 2) / FRAMES)
    assert strobe["temporal_hf"] > 0.99
    assert strobe["warping_error"] > 0.9


def test_a_pan_moves_evenly_and_motion_explains_it(scores: Any) -> None:
    moving = scores["pan"]
    assert (moving["dynamic_degree"], moving["repetition"]) == (1, 0)
    assert 0.8 < moving["flicker"] < 1 and moving["seam_jump"] < 1.5 and moving["temporal_hf"] < 0.3
    plain = np.square(np.diff(gray_256(CLIPS["pan"]) / 255.0, axis=0)).mean()
    assert moving["warping_error"] < 0.05 * plain


def test_a_loop_repeats_all_but_its_first_turn(scores: Any) -> None:
    assert scores["loop"]["repetition"] == pytest.approx((FRAMES - 8) / FRAMES)


def test_a_slow_pan_is_not_dynamic_and_repeats_nothing(scores: Any) -> None:
    assert (scores["slow"]["dynamic_degree"], scores["slow"]["repetition"]) == (0, 0)


def test_a_cut_is_found_where_it_is(scores: Any) -> None:
    assert scores["cut"]["seam_jump"] > 4
    jumps = seam_jumps(changes(CLIPS["cut"]))
    assert jumps.argmax() == 9 and np.delete(jumps, 9).max() < 1.5
    assert scores["cut"]["repetition"] == 0


def test_changes_by_hand() -> None:
    """Levels 0, 51, 51, 255 on a plain frame: steps of a fifth, nothing and four fifths."""
    frames = np.stack([np.full((2, 4, 3), level, np.uint8) for level in (0, 51, 51, 255)])
    np.testing.assert_allclose(changes(frames), [0.2, 0, 0.8], atol=1e-12)
    np.testing.assert_allclose(steadiness(changes(frames)), [0.8, 1, 0.2], atol=1e-12)
    np.testing.assert_allclose(changes((frames / np.float32(255)).astype(np.float32)), [0.2, 0, 0.8], atol=1e-6)


def test_repeats_by_hand() -> None:
    """One number a frame: back at 0 after 1 repeats; near 1 again, but 0.4 is not far enough away."""
    levels = np.array([0.0, 0.05, 1.0, 0.6, 0.97, 0.04, 0.02])
    assert repeats(levels[:, None, None]).tolist() == [False] * 5 + [True, True]


@pytest.mark.parametrize(("cycles", "fast"), [(2, False), (4, False), (10, True), (16, True)])
def test_fast_share_tells_frequencies_apart(cycles: int, fast: bool) -> None:
    """Cycles in 32 frames: a quarter cycle a frame is 8."""
    wave = 0.5 + 0.4 * np.cos(2 * np.pi * cycles * np.arange(32) / 32)[:, None, None] * np.ones((1, 4, 4))
    share = fast_share(wave)
    assert share > 0.99 if fast else share < 0.01


def test_fast_share_needs_four_frames() -> None:
    with pytest.raises(GenkitError, match="at least 4 frames; the video has 3"):
        fast_share(np.zeros((3, 4, 4)))


def test_speed_is_in_pixels_of_a_256_pixel_side() -> None:
    assert np.median(speeds(gray_256(pan(2, range(0, 16, 2))))) == pytest.approx(2 * 256 / SIDE, rel=0.15)


@pytest.mark.parametrize(("fast", "dynamic"), [(0, False), (1, False), (3, False), (4, True)])
def test_sixteen_frames_are_dynamic_from_four_fast_pairs_on(fast: int, dynamic: bool) -> None:
    assert is_dynamic(np.array([7.0] * fast + [6.0] * (15 - fast))) is dynamic


def test_two_still_frames_are_not_dynamic() -> None:
    assert not is_dynamic(np.array([0.0])) and is_dynamic(np.array([6.1]))


@pytest.mark.parametrize(("fps", "step"), [(1, 1), (8, 1), (16, 2), (24, 3), (30, 4)])
def test_about_eight_frames_a_second_are_looked_at(fps: float, step: int) -> None:
    assert step_at_8_fps(fps) == step


def test_dynamics_depend_on_seconds_and_not_on_frames() -> None:
    """The slow pan at 24 frames a second moves three times as fast at 8 looks a second."""
    degree = lite.DynamicDegree()
    assert degree.measure(Sample(Video(CLIPS["slow"], 24.0))).value == 1
    assert degree.measure(Sample(Video(CLIPS["slow"], 8.0))).value == 0


def test_pixels_that_leave_the_frame_do_not_count() -> None:
    """A shift by 4 with its exact flow is without error, though 4 columns have left."""
    wide = np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8)
    there, back = np.zeros((2, 32, 36, 2), np.float32)
    there[..., 0], back[..., 0] = -4, 4
    assert warping_error(wide[:, :36], wide[:, 4:], there, back) == 0
    assert warping_error(wide[:, :36], wide[:, 4:], 0 * there, 0 * back) > 0.01


def test_pixels_whose_flow_does_not_return_do_not_count() -> None:
    a, b = np.zeros((2, 32, 32), np.uint8)
    b[:, 16:] = 255
    there = np.zeros((32, 32, 2), np.float32)
    back = there.copy()
    assert warping_error(a, b, there, back) == 0.5
    back[:, 16:, 1] = 9
    assert warping_error(a, b, there, back) == 0
    assert np.isnan(warping_error(a, b, there, there + 9))


def test_preparations() -> None:
    frames = np.zeros((2, 300, 600, 3), np.uint8)
    frames[:, :, 300:] = 255
    assert gray_256(frames).shape == (2, 256, 512)
    blocks = gray_blocks(frames)
    assert blocks.shape == (2, 32, 32)
    np.testing.assert_allclose(blocks.mean(), 0.5, atol=0.02)
    np.testing.assert_allclose(gray_blocks(np.full((1, 33, 50, 3), 51, np.uint8)), 0.2, atol=1e-6)
    assert gray_blocks(frames[:, :8, :16]).shape == (2, 8, 16)


def test_frames_too_small_for_flow() -> None:
    with pytest.raises(GenkitError, match="frames of 8x32 are too small for optical flow"):
        gray_256(np.zeros((2, 8, 32, 3), np.uint8))


def test_consistency_is_never_shown_without_dynamics() -> None:
    with pytest.raises(UsageError, match="lite.flicker without a metric of dynamics"):
        Suite(name="mine", metrics=(lite.Flicker(), lite.SeamJump()))
    assert Suite(name="mine", metrics=(lite.Flicker(), lite.DynamicDegree()))


def test_features_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(lite, "changes", lambda frames: calls.append(1) or changes(frames))
    sample = Sample(Video(CLIPS["pan"], 8.0))
    lite.Flicker().measure(sample)
    lite.SeamJump().measure(sample)
    assert calls == [1]
