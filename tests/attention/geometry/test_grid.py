"""Geometry: where video and other tokens stand, and when a latent frame is."""

import pytest
import torch

from genkit.attention.geometry.grid import VideoGrid


def grid(**changes):
    return VideoGrid(**({"frames": 3, "rows": 2, "cols": 4} | changes))


def test_other_tokens_stand_after_or_before_the_video_or_on_both_sides():
    last, first, both = grid(after=5), grid(before=5), grid(before=2, after=3)
    assert (last.video, last.others) == (slice(0, 24), (slice(24, 29),))
    assert (first.video, first.others) == (slice(5, 29), (slice(0, 5),))
    assert (both.video, both.others) == (slice(2, 26), (slice(0, 2), slice(26, 29)))
    assert both.index_of_others().tolist() == [0, 1, 26, 27, 28] and both.other_tokens == 5
    assert both.frame_of_token().tolist() == [-1] * 2 + [0] * 8 + [1] * 8 + [2] * 8 + [-1] * 3
    assert last.tokens == first.tokens == 29
    assert last.frame_of_token().tolist() == [0] * 8 + [1] * 8 + [2] * 8 + [-1] * 5
    assert first.frame_of_token().tolist() == [-1] * 5 + [0] * 8 + [1] * 8 + [2] * 8


def test_images_in_front_of_a_video_are_outside_of_its_time():
    plain, led = grid(), grid(frames=5, lead=2)
    assert [led.seconds(frame) for frame in range(2)] == [(0, 0)] * 2
    assert [led.seconds(frame + 2) for frame in range(3)] == [plain.seconds(frame) for frame in range(3)]
    assert led.pixel_frames == plain.pixel_frames and led.crop(3, 5).pixel_frames == plain.crop(1, 3).pixel_frames


def test_without_other_tokens_all_are_the_videos():
    tokens, none = torch.arange(24), grid()
    assert none.others == () and none.index_of_others().numel() == 0
    assert torch.equal(tokens[none.video], tokens)
    assert none.frame_of_token().dtype == none.index_of_others().dtype == torch.int64


def test_folded_grids_count_the_tokens_of_one_sequence():
    space, time = grid(fold="space"), grid(fold="time")
    assert (space.tokens_per_frame, space.tokens, space.frame_of_token().tolist()) == (1, 3, [0, 1, 2])
    assert (time.tokens_per_frame, time.tokens, time.frame_of_token().tolist()) == (8, 8, [0] * 8)


@pytest.mark.parametrize(
    ("stride", "latent", "pixels"), [(4, 21, 81), (4, 33, 129), (4, 13, 49), (8, 16, 121), (6, 28, 163), (1, 16, 16)]
)
def test_latent_frames_decode_to_the_families_lengths(stride, latent, pixels):
    assert grid(frames=latent, stride=stride).pixel_frames == pixels


def test_the_first_latent_frame_is_one_pixel_frame_long():
    wan = grid(frames=21, fps=16)
    assert wan.seconds(0) == (0, 1 / 16)
    assert wan.seconds(1) == (1 / 16, 5 / 16)
    assert wan.seconds(20) == (77 / 16, 81 / 16)
    ends = [wan.seconds(frame) for frame in range(21)]
    assert all(before[1] == after[0] for before, after in zip(ends, ends[1:], strict=False))


def test_a_crop_keeps_its_place_in_the_video_and_its_text():
    inner = grid(frames=21, after=5).crop(4, 12).crop(2, 5)
    assert (inner.start, inner.frames, inner.other_tokens) == (6, 3, 5)
    assert inner.pixel_frames == 12
    assert grid(frames=21).crop(0, 3).pixel_frames == 9
