"""Pictures and videos as text, so that a report is one file: data URIs, and strips of frames.

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
"""Quality of the videos in a report; what is lost cannot be seen, and metrics never look at them."""
DISPLAY = 128
"""Pixels of the shorter side up to which small videos are enlarged, since H.264 halves the resolution of colours."""
STRIP = 8
"""Frames in a strip."""
GAP = 4
"""Transparent pixels between two frames."""
SIDE = 128
"""Pixels that the longer side of a frame in a strip may have."""


def data_uri(content: bytes, kind: str) -> str:
    """A URI that holds the content itself; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def video_uri(video: Video) -> str:
    """A video as an mp4 file in a URI, smaller than the file that people keep, and without its recipe."""
    factor = max(1, -(-DISPLAY // min(video.frames.shape[1:3])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        Video(video.frames, video.fps).save(path, crf=CRF, enlarge=factor, metadata=False)
        return data_uri(path.read_bytes(), "video/mp4")


def strip_places(count: int) -> list[int]:
    """Which of ``count`` frames a strip shows: the first, the last, and evenly between them."""
    return [round(place) for place in np.linspace(0, count - 1, min(STRIP, count))]


def strip_uri(frames_THWC: NDArray[Any]) -> str:
    """Frames side by side in one picture, as a URI; between them the paper shows."""
    from PIL import Image

    shown = [_thumbnail(frames_THWC[place]) for place in strip_places(len(frames_THWC))]
    width, height = shown[0].size
    strip = Image.new("RGBA", ((width + GAP) * len(shown) - GAP, height))
    for index, picture in enumerate(shown):
        strip.paste(picture, (index * (width + GAP), 0))
    file = io.BytesIO()
    strip.save(file, "webp", quality=85)
    return data_uri(file.getvalue(), "image/webp")


def _thumbnail(frame_HWC: NDArray[Any]) -> "Image":
    from PIL import Image

    picture = Image.fromarray(to_uint8(frame_HWC))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return picture
