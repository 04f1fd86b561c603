"""Encoding of RGB frames as H.264 that players show in the right colours.

Uses PyAV directly, not imageio's plugin for it, which cannot set the quality or the colour tags.
"""

import errno
import os
from collections.abc import Iterable
from fractions import Fraction
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError, UsageError
from genkit.files.container import FRAME_PIXELS, SIDE_PIXELS

BT709 = 1
"""BT.709 in ITU-T H.273: the same number for primaries, transfer and matrix."""
LIMITED_RANGE = 1
"""FFmpeg's number for luma in 16..235, the range that all players expect."""
RED, BLUE = 0.2126, 0.0722
"""Weights of red and blue in BT.709 luma; green has the rest."""
DISPLAY = 256
"""Default min pixels of the shorter side after enlarging a clip."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG, errno.ENOENT, errno.ESTALE)
"""System errors that are not the encoder's."""


def enlargement(height: int, width: int, asked: int | None) -> int:
    """Return the whole factor by which every pixel is repeated.

    Args:
        height: rows of the video.
        width: its columns.
        asked: None asks for the smallest factor that gives the shorter side 256 pixels, within the limit of the longer
            one.

    Raises:
        UsageError: it is not a factor, or the frames would be too large to be written and read back.
    """
    largest = min(SIDE_PIXELS // max(height, width), isqrt(FRAME_PIXELS // (height * width)))
    bounds = f"at most {FRAME_PIXELS:,} pixels and {SIDE_PIXELS:,} on a side"
    if not largest:
        raise UsageError(f"frames of {width}x{height} pixels could not be encoded as H.264: {bounds}; scale them down")
    if asked is None:
        return min(largest, max(1, -(-DISPLAY // min(height, width))))
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise UsageError(f"enlarge={asked!r} must be a whole number from 1 up, or None for at least {DISPLAY} pixels")
    if asked > largest:
        raise UsageError(
            f"enlarge={asked} makes frames of {width * asked}x{height * asked} pixels, and a file has {bounds}; "
            f"the max for this video is {largest}"
        )
    return asked


def file_frame(frame_HWC: NDArray[np.uint8], enlarge: int) -> NDArray[np.uint8]:
    """Return one frame as the file stores it: pixels repeated, and odd sides padded by their last row or column."""
    frame = frame_HWC.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def yuv420(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert RGB to limited-range Y'CbCr of BT.709 with halved chroma, rounded; H and W even.

    Written out because the fast path of FFmpeg's scaler is off by one: (200, 60, 30) would come back as (199, 58, 29).

    Returns:
        The three planes one after the other, ``[3 H / 2, W]``, as PyAV takes them.

    Source: ITU-R BT.709-6, sections 3 and 4.
    """
    red, green, blue = np.moveaxis(frame_HWC.astype(np.float32) / 255, 2, 0)
    luma = RED * red + (1 - RED - BLUE) * green + BLUE * blue
    planes = [
        16 + 219 * luma,
        128 + 224 * _halve(blue - luma) / (2 * (1 - BLUE)),
        128 + 224 * _halve(red - luma) / (2 * (1 - RED)),
    ]
    return np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes]).reshape(-1, luma.shape[1])


def encode(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    size: tuple[int, int],
    fps: float,
    crf: int,
    tags: dict[str, str],
) -> None:
    """Write frames, all of the even ``size`` (height, width), as H.264 in MP4 with its index first.

    Args:
        crf: x264's quality, 1 (best) to 51; 0 would select a profile that browsers cannot play.
        tags: written into the container; any key is kept, but only known ones such as ``comment`` survive a copy.

    Raises:
        GenkitError: the encoder failed, with its message.
        OSError: the file could not be written.
    """
    import av

    try:
        # The options belong to the container: as plain options they would reach the codec as well.
        options = {"movflags": "use_metadata_tags+faststart"}
        rate = Fraction(fps).limit_denominator(1001)
        with av.open(str(path), "w", format="mp4", container_options=options) as container:
            container.metadata.update(tags)
            stream = _stream(container, size, rate, crf)
            for index, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(yuv420(frame), format="yuv420p")
                picture.pts, picture.time_base = index, 1 / rate
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        if isinstance(error, OSError) and error.errno in DISK:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise GenkitError(f"the video could not be encoded as H.264: {error}") from error


def _stream(container: Any, size: tuple[int, int], rate: Fraction, crf: int) -> Any:
    stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "medium"})
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    # Whole frames per thread: with slices the result would depend on the number of cores.
    context.thread_type = "FRAME"
    context.color_range = LIMITED_RANGE
    context.colorspace = context.color_primaries = context.color_trc = BT709
    return stream


def _halve(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = plane.shape
    return plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
