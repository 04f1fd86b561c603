"""Common mistakes in measuring as VBench does. `make parity` makes each one, and the comparison must then fail.

They are patched in from outside for the length of a run; the suite has no switch for any of them.
Shape letters: T frames, C channels, H rows, W columns, N positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from genkit.benchmarks.evaluate import clips, run
from genkit.benchmarks.evaluate.stats import Reduction, Stat
from genkit.benchmarks.measures import preprocessing
from genkit.benchmarks.networks import vit
from genkit.benchmarks.suites import vbench_dimensions, vbench_formulas
from genkit.files import colours
from genkit.video.video import Video


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One way to get different numbers."""

    about: str
    """The wrong behaviour."""
    dimensions: tuple[str, ...]
    """The dimensions in which the difference must be noticed."""
    changes: tuple[tuple[Any, str, Any], ...]
    """Module or class, the name in it, and its replacement during the mistake."""
    measured: bool = True
    """False if only the reading of finished measurements changes, so that nothing has to be measured again."""


def _positions_by_size(table_1NC: Tensor, patch: int, height: int, width: int) -> Tensor:
    side = math.isqrt(table_1NC.shape[1] - 1)
    grid = table_1NC[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(height // patch, width // patch), mode="bicubic", align_corners=False)
    return torch.cat([table_1NC[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def _antialias(image_TCHW: Tensor, size: tuple[int, int], how: str) -> Tensor:
    return interpolate(image_TCHW, size=size, mode=how, align_corners=False, antialias=True)


def _on_bytes(image_TCHW: Tensor, size: tuple[int, int], how: str) -> Tensor:
    return interpolate(image_TCHW, size=size, mode=how, align_corners=False).round().clamp(0, 255)


def _by_pil(image_TCHW: Tensor, size: tuple[int, int], how: str) -> Tensor:
    from PIL import Image

    frames = image_TCHW.permute(0, 2, 3, 1).byte().numpy()
    kind = Image.Resampling.BICUBIC if how == "bicubic" else Image.Resampling.BILINEAR
    resized = [np.asarray(Image.fromarray(frame).resize(size[::-1], kind)) for frame in frames]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float()


def _without_the_last(path: Path) -> Video:
    video = clips.decode_tagged(path)
    return Video(video.frames[:-1], video.fps)


def _blue_first(path: Path) -> Video:
    video = clips.decode_tagged(path)
    return Video(video.frames[..., ::-1], video.fps)


def _round(image_13HW: Tensor) -> NDArray[np.uint8]:
    return np.rint((image_13HW * 255.0)[0].permute(1, 2, 0).numpy()).clip(0, 255).astype(np.uint8)


def _halves_up(mode: str, speeds: Sequence[float]) -> Stat:
    return vbench_formulas.dynamic_in("fixed", speeds)


DINO, CLIP = "subject_consistency", "background_consistency"
MISTAKES = (
    Mistake(
        about="positions of DINO interpolated to a size, as transformers does",
        dimensions=(DINO,),
        changes=((vit, "dino_positions", _positions_by_size),),
    ),
    Mistake(
        about="frames resized with antialiasing",
        dimensions=(DINO, CLIP),
        changes=((preprocessing, "_resize", _antialias),),
    ),
    Mistake(
        about="bicubic resizing of 8-bit frames", dimensions=(CLIP,), changes=((preprocessing, "_resize", _on_bytes),)
    ),
    Mistake(about="bicubic resizing by Pillow", dimensions=(CLIP,), changes=((preprocessing, "_resize", _by_pil),)),
    Mistake(
        about="mean over videos instead of all pairs pooled",
        dimensions=(DINO, CLIP),
        changes=((vbench_dimensions.SubjectConsistency, "reduction", Reduction(how="videos")),),
        measured=False,
    ),
    Mistake(
        about="last frame dropped",
        dimensions=("temporal_flickering", CLIP, "motion_smoothness"),
        changes=((run, "decode_tagged", _without_the_last),),
    ),
    Mistake(
        about="BT.709 assumed where the file has no colour tags",
        dimensions=("temporal_flickering", CLIP),
        changes=((colours, "UNTAGGED", "bt709"), (run, "decode_tagged", clips.decode)),
    ),
    Mistake(about="red and blue swapped", dimensions=(CLIP,), changes=((run, "decode_tagged", _blue_first),)),
    Mistake(
        about="interpolated frames rounded instead of cut",
        dimensions=("motion_smoothness",),
        changes=((vbench_formulas, "to_uint8_cut", _round),),
    ),
    Mistake(
        about="a quarter of the frames with halves rounded up",
        dimensions=("dynamic_degree",),
        changes=((vbench_dimensions, "dynamic_in", _halves_up),),
        measured=False,
    ),
)
