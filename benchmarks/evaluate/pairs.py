"""Frames of a video side by side with those of its reference.

Shape letters: T frames, H rows, W columns.
"""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from genkit.benchmarks.evaluate.metric import Sample
from genkit.errors import UsageError

NO_REFERENCE = "similarity needs a reference; name the folder of reference videos with --reference"


def frame_pairs(sample: Sample) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Return each frame of a video with that of its reference, ``[H, W, 3]`` both.

    Raises:
        UsageError: there is no reference, or its size or length differs.
    """
    if sample.reference is None:
        raise UsageError(NO_REFERENCE)
    mine, other = sample.video.frames, sample.reference.frames
    if mine.shape != other.shape:
        raise UsageError(
            f"the video has {_size(mine)} and its reference {_size(other)}; similarity needs equal length and size"
        )
    return zip(mine, other, strict=True)


def _size(frames_THWC: NDArray[Any]) -> str:
    return f"{frames_THWC.shape[0]} frames of {frames_THWC.shape[1]}x{frames_THWC.shape[2]}"
