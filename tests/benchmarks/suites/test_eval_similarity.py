"""PSNR and SSIM against scikit-image, and what the suite refuses."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from genkit.benchmarks.evaluate.metric import Sample
from genkit.benchmarks.suites import similarity
from genkit.benchmarks.suites.similarity import codec_copy, mse, psnr, ssim
from genkit.errors import GenkitError, UsageError
from genkit.video.video import Video

SIZES = [(11, 11), (24, 37), (64, 48)]


def pair(size: tuple[int, int], floats: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    """A picture and a noisy one, ``[H, W, 3]``."""
    generator = np.random.default_rng(size[1])
    a = np.cumsum(generator.random((*size, 3)), axis=1) % 1
    b = np.clip(a + 0.1 * generator.normal(size=a.shape), 0, 1)
    return (a, b) if floats else (np.rint(a * 255).astype(np.uint8), np.rint(b * 255).astype(np.uint8))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("floats", [False, True])
def test_psnr_is_that_of_scikit_image(size: tuple[int, int], floats: bool) -> None:
    a, b = pair(size, floats)
    top = 1 if floats else 255
    assert mse(a, b) == pytest.approx(mean_squared_error(a / top, b / top), abs=1e-9)
    assert psnr(mse(a, b)) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=top), abs=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("floats", [False, True])
def test_gaussian_ssim_is_that_of_scikit_image(size: tuple[int, int], floats: bool) -> None:
    a, b = pair(size, floats)
    expected = structural_similarity(
        a, b, data_range=1 if floats else 255, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(a, b, "gaussian") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_box_ssim_is_that_of_scikit_image_on_a_black_border(size: tuple[int, int]) -> None:
    """scikit-image takes whole windows; with a border of half a window these are all places of the frame."""
    a, b = pair(size)
    bordered = [np.pad(x, ((5, 5), (5, 5), (0, 0))) for x in (a, b)]
    expected = structural_similarity(
        *bordered, data_range=255, channel_axis=2, win_size=11, use_sample_covariance=False
    )
    assert ssim(a, b, "box") == pytest.approx(expected, abs=1e-6)


def test_the_two_windows_differ() -> None:
    a, b = pair((64, 48))
    assert abs(ssim(a, b, "gaussian") - ssim(a, b, "box")) > 1e-3


def test_equal_frames() -> None:
    a, _ = pair((24, 37))
    assert (psnr(mse(a, a)), ssim(a, a, "gaussian"), ssim(a, a, "box")) == (100, pytest.approx(1), pytest.approx(1))


def videos(frames: int = 3) -> tuple[Video, Video]:
    """The second differs by one level in its first frame and by ten in the others."""
    a = np.full((frames, 32, 32, 3), 100, np.uint8)
    b = a + 10
    b[0] = 101
    return Video(a, 8.0), Video(b, 8.0)


def test_the_mean_over_frames_is_not_the_psnr_of_the_whole() -> None:
    reference, video = videos()
    sample = Sample(video, reference=reference)
    each = [20 * np.log10(255), 20 * np.log10(25.5), 20 * np.log10(25.5)]
    found = similarity.Psnr().measure(sample)
    assert found.curve == pytest.approx(tuple(each)) and found.value == pytest.approx(np.mean(each))
    whole = 10 * np.log10(255**2 / ((1 + 100 + 100) / 3))
    assert similarity.PsnrOfWhole().measure(sample).value == pytest.approx(whole)


def test_raw_float_frames_are_not_rounded() -> None:
    frames = np.full((2, 16, 16, 3), 0.5, np.float32)
    sample = Sample(Video(frames + np.float32(1e-4), 8.0), reference=Video(frames, 8.0))
    assert similarity.Psnr().measure(sample).value == pytest.approx(80, abs=0.01)


def test_the_codec_floor_is_the_loss_of_saving() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 33, 47, 3), dtype=np.uint8)
    video = Video(noise, 8.0)
    copy = codec_copy(video)
    assert copy.shape == noise.shape and not np.array_equal(copy, noise)
    expected = np.mean([psnr(mse(a, b)) for a, b in zip(noise, copy, strict=True)])
    found = similarity.CodecFloor().measure(Sample(video, reference=video)).value
    assert found == pytest.approx(expected) and 10 < found < 60


def test_other_sizes_and_lengths_are_refused() -> None:
    video, _ = videos(3)
    other, _ = videos(4)
    with pytest.raises(UsageError, match="has 3 frames of 32x32 and its reference 4 frames of 32x32"):
        similarity.Psnr().measure(Sample(video, reference=other))
    with pytest.raises(UsageError, match="similarity needs a reference"):
        similarity.SsimBox().measure(Sample(video))
    with pytest.raises(GenkitError, match="frames of 10x40 are too small for SSIM"):
        ssim(np.zeros((10, 40, 3)), np.zeros((10, 40, 3)), "gaussian")
