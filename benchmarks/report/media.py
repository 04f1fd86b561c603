"""Pictures and videos as text, so that a report is a single file: data URIs, and strips of frames.

Shape letters: T frames, H rows, W columns.
"""

import base64
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genkit.files.frames import to_uint8
from genkit.video.video import Video

if TYPE_CHECKING:
    from PIL.Image import Image

CRF = 20
"""Quality of the videos in a report; the loss is invisible, and metrics never read them."""
DISPLAY = 128
"""Shorter side in pixels up to which small videos are enlarged, since H.264 halves the resolution of colours."""
STRIP = 8
"""Frames in a strip."""
GAP = 4
"""Transparent pixels between two frames."""
SIDE = 128
"""Maximum of the longer side of a frame in a strip, in pixels."""


def data_uri(content: bytes, kind: str) -> str:
    """Return a URI that contains the content itself; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def video_uri(video: Video) -> str:
    """Return a video as an mp4 file in a URI, smaller than the saved file and without its recipe."""
    factor = max(1, -(-DISPLAY // min(video.frames.shape[1:3])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        Video(video.frames, video.fps).save(path, crf=CRF, enlarge=factor, metadata=False)
        return data_uri(path.read_bytes(), "video/mp4")


def strip_places(count: int) -> list[int]:
    """Return which of ``count`` frames a strip shows: the first, the last, and evenly spaced ones between them."""
    return [round(place) for place in np.linspace(0, count - 1, min(STRIP, count))]


def strip_uri(frames_THWC: NDArray[Any]) -> str:
    """Return frames side by side in one picture, as a URI, with transparent gaps."""
    from PIL import Image

    thumbnails = [_thumbnail(frames_THWC[place]) for place in strip_places(len(frames_THWC))]
    width, height = thumbnails[0].size
    strip = Image.new("RGBA", ((width + GAP) * len(thumbnails) - GAP, height))
    for index, picture in enumerate(thumbnails):
        strip.paste(picture, (index * (width + GAP), 0))
    file = io.BytesIO()
    strip.save(file, "webp", quality=85)
    return data_uri(file.getvalue(), "image/webp")


def _thumbnail(frame_HWC: NDArray[Any]) -> "Image":
    from PIL import Image

    picture = Image.fromarray(to_uint8(frame_HWC))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return picture
