"""Windows over the denoiser: every frame is covered, and what windows decide of a frame sums to one."""

import pytest
import torch

from genkit.attention.geometry.windows import Window
from genkit.schedulers.windows import window_shares, windows_over


@pytest.mark.parametrize("window", range(1, 22))
def test_shares_of_every_frame_sum_to_one_at_every_length_and_stride(window):
    for stride in range(1, window + 1):
        for frames in range(1, 70):
            windows = windows_over(frames, window, stride)
            shares = window_shares(windows)
            torch.testing.assert_close(shares.sum(0), torch.ones(frames, dtype=torch.float64), rtol=0, atol=1e-15)
            assert all(len(one) == window or frames < window for one in (range(w.begin, w.end) for w in windows))
            assert windows[0].begin == 0 and windows[-1].end == frames
            for row, one in zip(shares, windows, strict=True):
                assert (row[one.begin : one.end] > 0).all() and row[: one.begin].sum() + row[one.end :].sum() == 0


def test_a_hand_made_story():
    """Seven frames in windows of four, two apart; the last one moves back to end with the video."""
    windows = windows_over(7, 4, 2)
    assert windows == [Window(0, 4, 7), Window(2, 6, 7), Window(3, 7, 7)]
    weights = torch.tensor([[1, 2, 2, 1, 0, 0, 0], [0, 0, 1, 2, 2, 1, 0], [0, 0, 0, 1, 2, 2, 1]], dtype=torch.float64)
    torch.testing.assert_close(window_shares(windows), weights / torch.tensor([1, 2, 3, 4, 4, 3, 1]))


def test_a_video_of_one_window_is_whole_and_decides_all():
    for frames in (1, 3, 4):
        (window,) = windows_over(frames, 4, 2)
        assert window.is_whole and window_shares([window]).tolist() == [[1.0] * frames]
    assert not windows_over(5, 4, 2)[0].is_whole


@pytest.mark.parametrize("stride", [0, 5, -1])
def test_a_stride_that_leaves_frames_in_no_window_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride={stride} must be between 1 and the window of 4 latent frames"):
        windows_over(9, 4, stride)
