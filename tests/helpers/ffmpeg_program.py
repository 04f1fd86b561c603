"""The ffmpeg program, an independent reader and writer of videos: it shares no code with the PyAV that genkit uses."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXACT = "accurate_rnd+full_chroma_int+full_chroma_inp"
"""Flags of its scaler: its fast path is off by up to two steps."""


def ffmpeg(*words: Any) -> bytes:
    """Run the program, and return what it wrote to its output; where it is missing, the test is skipped."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-hide_banner", "-loglevel", "error", "-y", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def shown_by_ffmpeg(path: Path, size: tuple[int, int], scale: str = f"flags={EXACT}") -> np.ndarray:
    """The frames, ``[T, *size, 3]``, as the program turns, cuts and colours them by its own code.

    Args:
        path: the video.
        size: rows and columns of what is shown.
        scale: options of its scaler, which converts the colours.
    """
    words = ("-i", path, "-fps_mode", "passthrough", "-vf", f"scale={scale}", "-f", "rawvideo", "-pix_fmt", "rgb24")
    return np.frombuffer(ffmpeg(*words, "-"), np.uint8).reshape(-1, *size, 3)
