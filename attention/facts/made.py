"""Lengths in pixel frames: how many a pipeline makes of the number that it was given."""

from collections.abc import Callable
from typing import Any

from genkit.attention.facts.volume import Arguments

MadeFrames = Callable[[Any, int, Arguments, int], int]
"""``(pipe, stride, arguments, frames) -> frames``: pixel frames of the video that a call with ``arguments`` makes,
given the number that it takes for its length; ``stride`` is in pixel frames per latent frame."""


def one_part(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return 1: the whole video is denoised at once."""
    return 1


def floored(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return ``frames`` down to a whole number of latent frames."""
    return (frames - 1) // stride * stride + 1


def rounded(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return ``frames`` as pipelines round them that want ``stride * k + 1``: up by one from a multiple of it."""
    return frames if frames % stride == 1 % stride else max(frames // stride * stride + 1, 1)


def as_asked(pipe: Any, stride: int, arguments: Arguments, frames: int) -> int:
    """Return ``frames``: the pipeline makes any number."""
    return frames


def frames_of_video(video: Any) -> int:
    """Return the number of frames of a list of images, or of an array ``[F, H, W, C]`` or ``[B, F, ..]``."""
    if not hasattr(video, "shape"):
        return len(video)
    return int(video.shape[0] if len(video.shape) == 4 else video.shape[1])
