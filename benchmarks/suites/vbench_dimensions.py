"""The seven dimensions of VBench as metrics: frames to networks to the formulas of :mod:`vbench_formulas`.

Networks run in float32 everywhere, also on a GPU, where the official code runs CLIP in half precision. Otherwise both
modes keep what is published: pictures are resized without antialiasing, flow is not cropped to the unpadded frame,
AMT's frame is not rounded, and no static filter is applied.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from genkit.benchmarks.evaluate.metric import Sample
from genkit.benchmarks.evaluate.stats import UNIT, Reduction, Stat
from genkit.benchmarks.measures.preprocessing import (
    CLIP_224,
    DINO_224,
    LONGER_512,
    RGB8,
    clip_224,
    dino_224,
    longer_512,
)
from genkit.benchmarks.networks.weight_files import device
from genkit.benchmarks.suites.vbench_dimension import Dimension
from genkit.benchmarks.suites.vbench_formulas import (
    consistency_from_features,
    dynamic_in,
    flicker,
    frames_at_8_fps,
    pad_to,
    smoothness,
    smoothness_in,
    speed,
)
from genkit.errors import GenkitError

BATCH = 16
"""Frames per forward pass of a network; it does not change the numbers."""
RAFT_STEPS = 20
MIN_SIDE = 128
"""Minimum of the shorter padded side in pixels for RAFT and AMT: an eighth of it is halved three times, and from a
single value the official code computes NaN."""
POOLED = "pooled over all pairs of frames, so that long videos count more; fixed: the mean over videos"


def _frames(sample: Sample) -> NDArray[np.uint8]:
    return sample.video.uint8()


@dataclass(frozen=True, kw_only=True)
class SubjectConsistency(Dimension):
    """Consistency of the subject."""

    name = "vbench.subject_consistency"
    about = "likeness of each frame to the one before and to the first, by DINO ViT-B/16; in [0, 1]"
    role = "consistency"
    preprocessing = DINO_224
    backbones = ("dino-vitb16",)
    libraries = ("transformers",)
    effect = {"vbench-0.1.5": POOLED, "fixed": "the mean over videos; vbench-0.1.5: pooled over all pairs of frames"}

    @property
    def reduction(self) -> Reduction:  # type: ignore[override]
        """Pooled in the official mode."""
        return replace(UNIT, how="pooled" if self.mode == "vbench-0.1.5" else "videos")

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over pairs."""
        (dino,) = networks
        return consistency_from_features(torch.cat([dino(_put(dino_224(part))) for part in _batches(sample)]))


@dataclass(frozen=True, kw_only=True)
class BackgroundConsistency(SubjectConsistency):
    """Consistency of the background."""

    name = "vbench.background_consistency"
    about = "likeness of each frame to the one before and to the first, by CLIP ViT-B/32; in [0, 1]"
    preprocessing = CLIP_224
    backbones = ("clip-vitb32",)

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over pairs."""
        (clip,) = networks
        return consistency_from_features(torch.cat([clip(_put(clip_224(part))) for part in _batches(sample)]))


@dataclass(frozen=True, kw_only=True)
class TemporalFlickering(Dimension):
    """Steadiness of neighbouring frames."""

    name = "vbench.temporal_flickering"
    about = "one minus the mean change of a pixel from frame to frame; 1 is perfectly still, 0 a strobe"
    reduction = UNIT
    role = "consistency"
    preprocessing = RGB8

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over pairs."""
        return flicker(sample.feature(_frames))


@dataclass(frozen=True, kw_only=True)
class MotionSmoothness(Dimension):
    """Agreement of frames with interpolated motion."""

    name = "vbench.motion_smoothness"
    about = "agreement of every second frame with AMT-S's interpolation of its neighbours; in [0, 1]"
    reduction = UNIT
    role = "consistency"
    preprocessing = f"{RGB8}+pad16"
    backbones = ("amt-s",)
    libraries = ("vbench",)
    effect = {
        "vbench-0.1.5": "with an even number of frames the last is ignored; fixed: it counts",
        "fixed": "with an even number of frames the last counts too; vbench-0.1.5: it is ignored",
    }

    def report(self, stat: Stat) -> Stat:
        """Include the last frame if the mode counts it."""
        return smoothness_in(self.mode, stat)

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over odd frames."""
        (amt,) = networks
        half = _put(torch.full((1, 1, 1, 1), 0.5))

        def middle(before: Tensor, after: Tensor) -> Tensor:
            (a, inside), (b, _) = pad_to(_put(before), 16), pad_to(_put(after), 16)
            made = amt(a, b, half, scale_factor=1.0, eval=True)["imgt_pred"]
            return made[..., inside[0], inside[1]]

        frames = sample.feature(_frames)
        _check_side(frames, 16, "AMT")
        return smoothness(frames, middle)


@dataclass(frozen=True, kw_only=True)
class DynamicDegree(Dimension):
    """Presence of motion."""

    name = "vbench.dynamic_degree"
    about = "share of videos in which a quarter of the frames moves, by RAFT; in [0, 1]"
    reduction = UNIT
    role = "dynamics"
    better = "neither"
    preprocessing = f"{RGB8}+8fps+pad8"
    backbones = ("raft-things",)
    libraries = ("torchvision",)
    effect = {
        "vbench-0.1.5": "a quarter of the frames is rounded half to even, so that 2 frames always count as moving; "
        "fixed: halves are rounded up and one pair has to move",
        "fixed": "a quarter of the frames is rounded half up and one pair has to move; vbench-0.1.5: it is rounded "
        "half to even, possibly to 0",
    }

    def report(self, stat: Stat) -> Stat:
        """Return the decision of the mode; the curve is the speed of each sampled pair."""
        return dynamic_in(self.mode, stat.curve)

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the speed of each pair, in pixels at a shorter side of 256."""
        (raft,) = networks
        frames = frames_at_8_fps(sample.feature(_frames), sample.video.fps)
        _check_side(frames, 8, "RAFT")
        return Stat.of_curve([_speed(raft, a, b) for a, b in zip(frames, frames[1:], strict=False)])


@dataclass(frozen=True, kw_only=True)
class AestheticQuality(Dimension):
    """Beauty of the frames."""

    name = "vbench.aesthetic_quality"
    about = "mean over frames of LAION's aesthetic score on CLIP ViT-L/14, divided by 10; about 0 to 1"
    preprocessing = CLIP_224
    backbones = ("clip-vitl14", "aesthetic-head")
    libraries = ("transformers",)

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over frames."""
        clip, head = networks
        features = [normalize(clip(_put(clip_224(part))), dim=-1) for part in _batches(sample)]
        return Stat.of_curve((head(torch.cat(features))[:, 0].double() / 10).tolist())


@dataclass(frozen=True, kw_only=True)
class ImagingQuality(Dimension):
    """Sharpness of the frames and absence of noise."""

    name = "vbench.imaging_quality"
    about = "mean over frames of MUSIQ's score; the aggregate is in [0, 1]"
    preprocessing = LONGER_512
    backbones = ("musiq-spaq",)
    libraries = ("pyiqa",)
    effect = {
        "vbench-0.1.5": "a video's value is 0 to 100, only the aggregate is divided by 100; fixed: both are in [0, 1]",
        "fixed": "a video's value is in [0, 1] as the aggregate; vbench-0.1.5: 0 to 100",
    }

    @property
    def reduction(self) -> Reduction:  # type: ignore[override]
        """In the official mode the aggregate alone is divided by 100."""
        return Reduction(scale=0.01, bounds=(0.0, 100.0)) if self.mode == "vbench-0.1.5" else UNIT

    def report(self, stat: Stat) -> Stat:
        """Scale to [0, 1] unless the mode leaves that to the aggregate."""
        if self.mode == "vbench-0.1.5":
            return stat
        return Stat(stat.sum / 100, stat.weight, tuple(value / 100 for value in stat.curve))

    def look(self, sample: Sample, *networks: nn.Module) -> Stat:
        """Return the mean over frames, 0 to 100."""
        (musiq,) = networks
        frames = sample.feature(_frames)
        return Stat.of_curve([float(musiq(_put(longer_512(frame[None])))) for frame in frames])


def _batches(sample: Sample) -> Iterator[NDArray[np.uint8]]:
    frames = sample.feature(_frames)
    return (frames[start : start + BATCH] for start in range(0, len(frames), BATCH))


def _check_side(frames_THWC: NDArray[np.uint8], divisor: int, network: str) -> None:
    height, width = frames_THWC.shape[1:3]
    if min(height, width) + -min(height, width) % divisor < MIN_SIDE:
        raise GenkitError(f"frames of {height}x{width} are too small for {network}; it needs {MIN_SIDE} pixels a side")


def _put(tensor: Tensor) -> Tensor:
    return tensor.to(device())


def _speed(raft: nn.Module, a_HWC: NDArray[np.uint8], b_HWC: NDArray[np.uint8]) -> float:
    both = torch.from_numpy(np.stack([a_HWC, b_HWC])).permute(0, 3, 1, 2).float()
    signed, _ = pad_to(2 * (_put(both) / 255.0) - 1, 8)
    flow = raft(signed[:1], signed[1:], num_flow_updates=RAFT_STEPS)[-1]
    return speed(flow[0].cpu().numpy(), min(a_HWC.shape[:2]))
