"""The suite ``similarity``: closeness of a video to a reference, as when a fast method replaces an exact one.

Two kinds of SSIM are in use and give different numbers; both are here under their own names. All values are computed
from decoded frames: for mp4 files they include the codec, so raw frames (``.npz``) are better, and
``similarity.codec_floor`` reports the loss by the codec alone.
Shape letters: T frames, H rows, W columns, C colours.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from genkit.benchmarks.evaluate.metric import Metric, Sample, Suite
from genkit.benchmarks.evaluate.pairs import NO_REFERENCE, frame_pairs
from genkit.benchmarks.evaluate.stats import Reduction, Stat
from genkit.benchmarks.measures.preprocessing import RGB
from genkit.benchmarks.suites.lpips import Lpips
from genkit.errors import GenkitError, UsageError
from genkit.files.decode import read_frames
from genkit.video.video import Video

WINDOW = 11
"""Side of the SSIM window in pixels."""
SIGMA = 1.5
"""Standard deviation of the Gaussian window in pixels."""
C1, C2 = 0.01**2, 0.03**2
"""SSIM's constants for values in [0, 1]."""
CAP = 100.0
"""PSNR in dB of equal frames; higher values are clipped to it."""
DECIBELS, LIKENESS = Reduction(bounds=(0.0, CAP)), Reduction(bounds=(-1.0, 1.0))
"""Ranges of PSNR and SSIM."""

Window = Literal["gaussian", "box"]


def mse(a_HWC: NDArray[Any], b_HWC: NDArray[Any]) -> float:
    """Return the mean squared error of two frames in [0, 1]."""
    return float(np.square(_unit(a_HWC) - _unit(b_HWC)).mean())


def psnr(error: float) -> float:
    """Return the decibels of a mean squared error in [0, 1], at most 100."""
    return min(CAP, -10 * float(np.log10(error))) if error > 0 else CAP


def ssim(a_HWC: NDArray[Any], b_HWC: NDArray[Any], window: Window) -> float:
    """Return structural similarity, mean over colours and pixels. Source: Z. Wang et al., IEEE TIP 13 (2004).

    ``gaussian`` weights 11 x 11 pixels by a Gaussian of sigma 1.5 and uses whole windows only; ``box`` weights them
    equally and pads with black beyond the frame.

    Raises:
        GenkitError: whole windows are asked for and a side has fewer than 11 pixels.
    """
    if window == "gaussian" and min(a_HWC.shape[:2]) < WINDOW:
        raise GenkitError(f"frames of {a_HWC.shape[0]}x{a_HWC.shape[1]} are too small for SSIM; it needs 11x11 pixels")
    a, b = (torch.from_numpy(_unit(x)).movedim(-1, 0)[:, None] for x in (a_HWC, b_HWC))
    smooth = _gaussian if window == "gaussian" else _box
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    cov = smooth(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + C1) * (2 * cov + C2)
    return float((top / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))).mean())


def codec_copy(video: Video) -> NDArray[np.uint8]:
    """Return the frames after saving with genkit's default settings and reading again, ``[T, H, W, 3]``."""
    _, height, width, _ = video.frames.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Video(video.frames, video.fps).save(Path(folder) / "copy.mp4", enlarge=1, metadata=False)
        return read_frames(path)[:, :height, :width]


def _unit(frame: NDArray[Any]) -> NDArray[np.float64]:
    return frame.astype(np.float64) / (255 if frame.dtype == np.uint8 else 1)


def _gaussian(image_C1HW: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    return conv2d(conv2d(image_C1HW, weights[None, None, None]), weights[None, None, :, None])


def _box(image_C1HW: Tensor) -> Tensor:
    return avg_pool2d(image_C1HW, WINDOW, stride=1, padding=WINDOW // 2)


def _errors(sample: Sample) -> NDArray[np.float64]:
    return np.array([mse(a, b) for a, b in frame_pairs(sample)])


@dataclass(frozen=True, kw_only=True)
class Psnr(Metric):
    """Peak signal-to-noise ratio, frame by frame."""

    name = "similarity.psnr"
    about = "mean over frames of the PSNR in dB; 100 for equal frames"
    reduction = DECIBELS
    better = "higher"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over frames."""
        return Stat.of_curve([psnr(error) for error in sample.feature(_errors)])


@dataclass(frozen=True, kw_only=True)
class PsnrOfWhole(Metric):
    """Peak signal-to-noise ratio of the whole video."""

    name = "similarity.psnr_whole"
    about = "PSNR in dB of the mean squared error over the whole video; 100 if equal"
    reduction = DECIBELS
    better = "higher"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return one value per video."""
        return Stat(psnr(float(sample.feature(_errors).mean())), 1.0)


@dataclass(frozen=True, kw_only=True)
class SsimGaussian(Metric):
    """SSIM as in PAB, TeaCache and MagCache."""

    name = "similarity.ssim_gaussian"
    about = "SSIM with a Gaussian window of 11 pixels, whole windows only; 1 if equal"
    reduction = LIKENESS
    better = "higher"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over frames."""
        return Stat.of_curve([ssim(a, b, "gaussian") for a, b in frame_pairs(sample)])


@dataclass(frozen=True, kw_only=True)
class SsimBox(Metric):
    """SSIM as in Sparse VideoGen."""

    name = "similarity.ssim_box"
    about = "SSIM with an even window of 11 pixels, black beyond the frame; 1 if equal"
    reduction = LIKENESS
    better = "higher"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over frames."""
        return Stat.of_curve([ssim(a, b, "box") for a, b in frame_pairs(sample)])


@dataclass(frozen=True, kw_only=True)
class CodecFloor(Metric):
    """PSNR lost by saving alone, the reference for every PSNR."""

    name = "similarity.codec_floor"
    about = "PSNR in dB of the reference against its own copy in an mp4 file; above it a difference may be the codec's"
    reduction = DECIBELS
    better = "neither"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over frames of the reference."""
        if sample.reference is None:
            raise UsageError(NO_REFERENCE)
        copy = codec_copy(sample.reference)
        return Stat.of_curve([psnr(mse(a, b)) for a, b in zip(sample.reference.frames, copy, strict=True)])


SUITE = Suite(
    name="similarity",
    metrics=(Psnr(), PsnrOfWhole(), SsimGaussian(), SsimBox(), Lpips(net="alex"), Lpips(net="vgg"), CodecFloor()),
    compares=True,
)
