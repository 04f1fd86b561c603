"""Frames of a running job, as a small animation that the page shows."""

import io
import time
from pathlib import Path

from genkit.files.whole import replacing
from genkit.generation.events import Progress
from genkit.video.video import Video

PAUSE = 0.5
"""Min seconds between two previews."""
SHARE = 0.1
"""Max share of a job's time that previews may take."""
MAX_FRAMES = 32
"""Max frames of a preview; longer videos are subsampled."""
MAX_PIXELS = 128
"""Max side of a preview in pixels; larger frames are subsampled."""


class Preview:
    """``on_event`` callback that writes previews to one file, each as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0.0

    def __call__(self, event: Progress) -> None:
        """Write the frames of this step, unless that is too soon, or the model has none to show."""
        begun = time.monotonic()
        if event.stage != "denoise" or begun < self._next or not self.path.parent.parent.is_dir():
            return  # the folder of the store was moved away: create nothing
        video = event.preview()
        if video is None:
            return
        try:
            with replacing(self.path) as (part,):
                part.write_bytes(picture(video))
        except OSError:
            return  # a full disk ends the job when the video is written, with that reason
        ended = time.monotonic()
        self._next = max(begun + PAUSE, ended + (ended - begun) / SHARE)


def picture(video: Video) -> bytes:
    """Encode the video as a looping animated WebP of the same duration, small enough for a page."""
    from PIL import Image

    frames, height, width, _ = video.frames.shape
    every, apart = -(-frames // MAX_FRAMES), -(-max(height, width) // MAX_PIXELS)
    first, *others = [Image.fromarray(frame) for frame in video.uint8()[::every, ::apart, ::apart]]
    file, duration = io.BytesIO(), round(1000 * every / video.fps)
    first.save(file, "WEBP", save_all=True, append_images=others, duration=duration, loop=0, quality=80, method=0)
    return file.getvalue()
