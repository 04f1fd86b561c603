"""The frames of a job in the making, as a small moving picture that the page shows."""

import io
import time
from pathlib import Path

from genkit.files.whole import replacing
from genkit.generation.events import Progress
from genkit.video.video import Video

PAUSE = 0.5
"""Seconds between two pictures, at least."""
SHARE = 0.1
"""What pictures may cost of the time of a job."""
MOST_FRAMES = 32
"""Of a longer video every second, third, ... frame is shown."""
MOST_PIXELS = 128
"""Longest side of a picture; of a larger video every second, third, ... row and column is shown."""


class Preview:
    """Writes pictures to one file, each whole; as ``on_event`` of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0.0

    def __call__(self, event: Progress) -> None:
        """Show the frames after a step, unless that would be too soon, or the model has none to show."""
        begun = time.monotonic()
        if event.stage != "denoise" or begun < self._next or not self.path.parent.parent.is_dir():
            return  # nothing is made where the folder of a store was moved away
        video = event.preview()
        if video is None:
            return
        try:
            with replacing(self.path) as (part,):
                part.write_bytes(picture(video))
        except OSError:
            return  # a full disk ends the job where the video is written, with its reason, and not here
        ended = time.monotonic()
        self._next = max(begun + PAUSE, ended + (ended - begun) / SHARE)


def picture(video: Video) -> bytes:
    """The video as an animated WebP of the same duration that repeats for ever, small enough to stand in a page."""
    from PIL import Image

    frames, height, width, _ = video.frames.shape
    every, apart = -(-frames // MOST_FRAMES), -(-max(height, width) // MOST_PIXELS)
    first, *others = [Image.fromarray(frame) for frame in video.uint8()[::every, ::apart, ::apart]]
    file, duration = io.BytesIO(), round(1000 * every / video.fps)
    first.save(file, "WEBP", save_all=True, append_images=others, duration=duration, loop=0, quality=80, method=0)
    return file.getvalue()
