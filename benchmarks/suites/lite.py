"""The suite ``lite``: measures of any video that need no network weights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genkit.benchmarks.evaluate.metric import Metric, Sample, Suite
from genkit.benchmarks.evaluate.stats import FROM_ZERO, UNIT, Reduction, Stat
from genkit.benchmarks.measures.change import changes, fast_share, repeats, seam_jumps, steadiness
from genkit.benchmarks.measures.flow import FLOW, is_dynamic, speeds, step_at_8_fps, warping_errors
from genkit.benchmarks.measures.preprocessing import GRAY_256, GRAY_BLOCKS, RGB, gray_256, gray_blocks


def _changes(sample: Sample) -> NDArray[np.float64]:
    return changes(sample.video.frames)


def _gray_256(sample: Sample) -> NDArray[np.uint8]:
    return gray_256(sample.video.frames)


def _gray_blocks(sample: Sample) -> NDArray[np.float32]:
    return gray_blocks(sample.video.frames)


@dataclass(frozen=True, kw_only=True)
class Flicker(Metric):
    """Steadiness of neighbouring frames, in VBench's formula."""

    name = "lite.flicker"
    about = "one minus the mean change of a pixel from frame to frame; 1 is perfectly still, 0 a strobe"
    reduction = UNIT
    better = "higher"
    role = "consistency"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over pairs."""
        return Stat.of_curve(steadiness(sample.feature(_changes)))


@dataclass(frozen=True, kw_only=True)
class WarpingError(Metric):
    """Change that motion does not explain."""

    name = "lite.warping_error"
    about = "mean squared difference to the next frame after moving it back along the flow; 0 or more"
    reduction = FROM_ZERO
    better = "lower"
    role = "consistency"
    preprocessing = f"{GRAY_256}+{FLOW}"
    packages = ("cv2",)

    def measure(self, sample: Sample) -> Stat:
        """Return the mean over the pairs that have comparable pixels."""
        errors = warping_errors(sample.feature(_gray_256))
        return Stat.of_curve(errors[~np.isnan(errors)])


@dataclass(frozen=True, kw_only=True)
class DynamicDegree(Metric):
    """Presence of motion."""

    name = "lite.dynamic_degree"
    about = "share of videos that move by VBench's rule, on DIS flow; in [0, 1]"
    reduction = UNIT
    better = "neither"
    role = "dynamics"
    preprocessing = f"{GRAY_256}+{FLOW}"
    packages = ("cv2",)

    def measure(self, sample: Sample) -> Stat:
        """Return 1 or 0; the curve is the speed of each sampled pair."""
        sampled = speeds(sample.feature(_gray_256)[:: step_at_8_fps(sample.video.fps)])
        return Stat(float(is_dynamic(sampled)), 1.0, tuple(sampled.tolist()))


@dataclass(frozen=True, kw_only=True)
class SeamJump(Metric):
    """Breaks of the pace, as at the seam of two windows."""

    name = "lite.seam_jump"
    about = "largest change between neighbours over the median one; 1 is an even pace"
    reduction = Reduction(bounds=(1.0, None))
    better = "lower"
    preprocessing = RGB

    def measure(self, sample: Sample) -> Stat:
        """Return the largest ratio; the curve contains all."""
        jumps = seam_jumps(sample.feature(_changes))
        return Stat(float(jumps.max()), 1.0, tuple(jumps.tolist()))


@dataclass(frozen=True, kw_only=True)
class Repetition(Metric):
    """Return of the video to what it had left."""

    name = "lite.repetition"
    about = "share of the frames that show again what the video had left; in [0, 1], 0 for a frozen video"
    reduction = UNIT
    better = "lower"
    preprocessing = GRAY_BLOCKS

    def measure(self, sample: Sample) -> Stat:
        """Return the share over all frames."""
        return Stat.of_curve(repeats(sample.feature(_gray_blocks)).astype(float))


@dataclass(frozen=True, kw_only=True)
class FastVariation(Metric):
    """High-frequency energy over time."""

    name = "lite.temporal_hf"
    about = "share of the variation over time above a quarter cycle per frame; in [0, 1], near 1 for a strobe"
    reduction = UNIT
    better = "lower"
    preprocessing = GRAY_BLOCKS

    def measure(self, sample: Sample) -> Stat:
        """Return the share of the whole video."""
        return Stat(fast_share(sample.feature(_gray_blocks)), 1.0)


SUITE = Suite(
    name="lite",
    metrics=(Flicker(), WarpingError(), DynamicDegree(), SeamJump(), Repetition(), FastVariation()),
)
