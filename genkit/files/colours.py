"""Conversion of a video file's pixels to RGB, following its colour tags.

A tag states the matrix of luma and chroma; without a tag it is BT.601 at any size, as in FFmpeg, OpenCV, decord and
writers that omit the tag (such as diffusers' ``export_to_video``).
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
"""Name of the matrix by its number in ITU-T H.273; 2 means unspecified."""
UNTAGGED = "bt601"
FULL_RANGE = 2
"""FFmpeg's number for luma in 0..255."""


def convert_as_pyav(frame: Any) -> NDArray[np.uint8]:
    """Convert a frame of PyAV to ``[H, W, 3]``, bit-identical to OpenCV, decord and PyAV by default."""
    # PyAV before 17 looks at the frame's tag only if it differs from the matrix of the result, which has none.
    return _rotate(frame, frame.to_ndarray(format="rgb24", dst_colorspace="ITU601"))


class Exact:
    """Converter of PyAV's frames with accurate rounding: FFmpeg's fast path is off by up to two steps of 255."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[Any, ...], Any] = {}

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        """Return the frame as ``[H, W, 3]``, RGB."""
        key = frame.format.name, frame.width, frame.height, int(frame.colorspace), int(frame.color_range)
        if key not in self._graphs:
            self._graphs = {key: _graph(*key)}
        graph = self._graphs[key]
        graph.push(frame)
        return _rotate(frame, graph.pull().to_ndarray())


def _graph(pixels: str, width: int, height: int, matrix: int, extent: int) -> Any:
    import av
    import av.filter

    flags = "accurate_rnd+full_chroma_int+full_chroma_inp"
    said = f"in_color_matrix={MATRICES.get(matrix, UNTAGGED)}:in_range={_range(pixels, extent)}:"
    graph = av.filter.Graph()
    chain = [
        graph.add_buffer(width=width, height=height, format=av.VideoFormat(pixels), time_base=Fraction(1, 1000)),
        graph.add("scale", ("" if _has_no_matrix(pixels) else said) + f"flags={flags}"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ]
    for before, after in zip(chain, chain[1:], strict=False):
        before.link_to(after)
    graph.configure()
    return graph


def _has_no_matrix(pixels: str) -> bool:
    return "rgb" in pixels or "bgr" in pixels or pixels.startswith(("gbr", "pal", "mono"))


def _range(pixels: str, extent: int) -> str:
    return "pc" if extent == FULL_RANGE or pixels.startswith("yuvj") else "tv"


def _rotate(frame: Any, picture_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rotate by quarter turns or mirror as the file asks, like players do (phones write such files).

    Other angles are ignored. Source: ISO/IEC 14496-12, section 6.2.2, the matrix of a track.
    """
    for about in frame.side_data:
        if about.type.name == "DISPLAYMATRIX":
            xx, xy, _, yx, yy, *_ = np.frombuffer(bytes(about), np.int32).tolist()
            swapped = abs(xy) > abs(xx)  # columns become rows
            right, down = (yx, xy) if swapped else (xx, yy)
            picture = picture_HWC.swapaxes(0, 1) if swapped else picture_HWC
            return picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return picture_HWC
