"""Reading a video file: what its header says, and its frames."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError, UsageError

TO_RGB = [
    # Both words of the matrix are given, so that a player's guess or a lost tag cannot change the colours.
    ("scale", {"in_color_matrix": "bt709", "in_range": "tv", "flags": "accurate_rnd+full_chroma_int+full_chroma_inp"}),
    ("format", "rgb24"),
]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a video file says about itself before any frame is decoded."""

    frames: int
    """Number of frames; 0 where the container does not say."""
    height: int
    """Rows of pixels in the file."""
    width: int
    """Columns of pixels in the file."""
    fps: float
    """Frames per second."""
    comment: str
    """The comment tag, empty where there is none."""


def read_header(path: Path) -> Header:
    """Read the header of a video file.

    Raises:
        UsageError: there is no such file, it is empty, or no video can be found in it.
    """
    with _opened(path) as (_, header):
        return header


def read_frames(path: Path, *, tagged: bool = False) -> NDArray[np.uint8]:
    """Decode a whole video file under BT.709.

    Args:
        path: the file.
        tagged: follow the colour tags of the file instead, and take BT.601 where there are none, as OpenCV, decord
            and PyAV do of themselves.

    Returns:
        ``[T, H, W, 3]``, RGB.

    Raises:
        UsageError: as :func:`read_header`.
        GenkitError: the file ends early or cannot be decoded.
    """
    frames: list[NDArray[np.uint8]] = []
    problem: Exception | None = None
    with _opened(path) as (file, header):
        try:
            frames.extend(file.iter() if tagged else file.iter(filter_sequence=TO_RGB))
        except (OSError, ValueError) as error:  # what FFmpeg's own errors derive from
            problem = error
    if not frames or len(frames) < header.frames:
        raise GenkitError(
            f"only {len(frames)} of {header.frames} frames of {str(path)!r} can be decoded: "
            "the file is cut short or damaged"
        ) from problem
    return np.stack(frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Header]]:
    import imageio.v3 as iio
    from imageio.core.request import InitializationError

    if not path.is_file():
        raise UsageError(f"there is no video file {str(path)!r}")
    if path.stat().st_size == 0:
        raise UsageError(f"{str(path)!r} is empty: it holds no video")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(iio.imopen(str(path), "r", plugin="pyav"))
            header = _header(file)
        # Where a stream or its codec is missing, the plugin trips over None.
        except (InitializationError, OSError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise UsageError(
                f"{str(path)!r} cannot be read as a video: it is damaged, cut short or not a video{_guess(path)}"
            ) from error
        yield file, header


def _guess(path: Path) -> str:
    """What the first bytes tell of a file that FFmpeg gave up."""
    with path.open("rb") as file:
        mp4 = file.read(8)[4:] == b"ftyp"
    return "; it begins as an MP4 does but its index is missing, so it was cut: fetch or copy it again" if mp4 else ""


def _header(file: Any) -> Header:
    frames, height, width, _ = file.properties().shape
    about = file.metadata()
    tags = {key.lower(): value for key, value in file.container_metadata.items()}  # Matroska writes capitals
    return Header(frames=frames, height=height, width=width, fps=about["fps"], comment=tags.get("comment", ""))
