"""The tiny clips of `make parity`: shapes, lengths and rates that exercise every branch of the official code.

Their sides are not multiples of 8 or 16 where padding has to matter; their lengths are even and odd; at 20 frames per
second ``round(20 / 8)`` rounds 2.5 to the even 2, and at 60 two frames are kept, of which none has to move. One is
larger than the networks' 224 pixels, so that antialiasing matters.

The colours are untagged, as most writers leave them. On tagged files the official code disagrees with itself: decord
and OpenCV 5 follow the tag, OpenCV 4.11 always assumes BT.601.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ParityClip:
    """One synthetic clip."""

    name: str
    """Its file name."""
    height: int
    """Rows; even."""
    width: int
    """Columns; even."""
    frames: int
    """Its length."""
    fps: int
    """Frames per second."""
    speed: float
    """Motion of its texture in pixels per frame."""


CLIPS = (
    ParityClip(name="square.mp4", height=160, width=160, frames=9, fps=60, speed=0.0),
    ParityClip(name="tall.mp4", height=180, width=134, frames=11, fps=20, speed=9.0),
    ParityClip(name="wide.mp4", height=252, width=448, frames=8, fps=24, speed=3.5),
)


def write_clips(folder: Path) -> None:
    """Write all clips into ``folder``, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, clip in enumerate(CLIPS):
        _encode(folder / clip.name, draw(clip, seed), clip.fps)


def draw(clip: ParityClip, seed: int) -> NDArray[np.uint8]:
    """Draw the frames of a clip, ``[T, H, W, 3]``: drifting coloured waves, a crossing square, noise and flicker."""
    generator = np.random.default_rng(seed)
    t = np.arange(clip.frames)[:, None, None, None]
    y, x = np.arange(clip.height)[None, :, None, None], np.arange(clip.width)[None, None, :, None]
    pitch, phase = generator.uniform(7, 23, (2, 3)), generator.uniform(0, 6, (2, 3))
    waves = np.sin((x + clip.speed * t) / pitch[0] + phase[0]) * np.cos((y - clip.speed * t) / pitch[1] + phase[1])
    frames = 128 + 90 * waves + 6 * np.cos(t * generator.uniform(1, 2)) + generator.normal(0, 4, waves.shape)
    size = clip.height // 4
    for index in range(clip.frames):
        left = int(clip.speed * index * 2) % (clip.width - size)
        frames[index, size : 2 * size, left : left + size] = (230, 40 + 10 * seed, 60)
    return np.rint(frames.clip(0, 255)).astype(np.uint8)


def _encode(path: Path, frames: NDArray[np.uint8], fps: int) -> None:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fps, options={"crf": "16", "threads": "1"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
