"""What counts as the frames of a video."""

import numpy as np
import pytest
import torch
from PIL import Image

from genkit.errors import UsageError
from genkit.files.frames import as_frames, to_uint8
from genkit.video.video import Video


def test_every_form_of_frames_is_the_same_video() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (5, 16, 24, 3), np.uint8)
    floats = torch.from_numpy(clip) / 255
    forms = [
        clip,
        clip / 255.0,
        clip.astype(np.float32) / 255,
        (clip / 255.0).astype(np.float16),
        torch.from_numpy(clip),
        floats,
        floats.half(),
        floats.permute(0, 3, 1, 2).requires_grad_(),
        np.moveaxis(clip, 3, 1),
        [Image.fromarray(frame) for frame in clip],
        list(floats),
    ]
    for form in forms:
        assert (to_uint8(as_frames(form)) == clip).all()


def test_floats_are_rounded_and_clamped_not_truncated_or_wrapped() -> None:
    values = np.array([-0.0005, 254.6 / 255, 254.4 / 255, 1.0005])
    frames = np.broadcast_to(values[:, None, None, None], (4, 2, 2, 3))
    assert to_uint8(as_frames(frames))[:, 0, 0, 0].tolist() == [0, 255, 254, 255]
    assert (as_frames(frames).min(), as_frames(frames).max()) == (0, 1)


def test_raw_frames_keep_their_precision_for_measurements() -> None:
    frames = np.full((1, 2, 2, 3), 0.123456, np.float32)
    assert (Video(frames, 8).frames == frames).all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 4, 4, 3)) + np.nan, "2 of 2 frames contain NaN or infinity, first frame 0"),
        (np.stack([np.zeros((4, 4, 3)), np.full((4, 4, 3), np.inf)]), "1 of 2 frames .* first frame 1"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(4, 4, 3\); one video has four axes"),
        (np.zeros((1, 2, 4, 4, 3), np.uint8), r"of a batch take one, output\.frames\[0\]"),
        (np.zeros((2, 4, 4, 4), np.uint8), "expected RGB"),
        (np.zeros((2, 4, 4, 1), np.uint8), "expected RGB"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no frames or no pixels"),
        ([], "no frames; give at least one"),
        (np.zeros((2, 4, 4, 3), np.int64), "dtype int64; give uint8"),
        (np.full((2, 4, 4, 3), -1.0), r"must be in \[0, 1\], but these span \[-1, -1\]"),
        (np.full((2, 4, 4, 3), 200.0), r"span \[200, 200\]"),
        ([Image.new("RGBA", (4, 4))], "mode 'RGBA'; convert it"),
        ([Image.new("RGB", (4, 4)), Image.new("RGB", (4, 6))], "must have one size"),
    ],
)
def test_frames_that_are_no_video_are_refused(frames: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Video(frames, 8)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 5000])
def test_an_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(UsageError, match=f"fps={fps}"):
        Video(np.zeros((1, 8, 8, 3), np.uint8), fps)
