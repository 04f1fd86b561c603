"""Change of frames along a video: flicker, seams, repetition, fast variation. Pure functions without networks.

Shape letters: T frames, H rows, W columns, C colours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError

HALF_LEVEL = 0.5 / 255
"""Half an 8-bit grey level: the largest change of a pixel by rounding alone."""
MIN_FRAMES_HF = 4
"""With fewer frames there is no middle frequency to compare the fast half with."""


def changes(frames_THWC: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean absolute difference of each frame to the next, ``[T - 1]``, in [0, 1]."""
    return np.array([_difference(a, b) for a, b in zip(frames_THWC, frames_THWC[1:], strict=False)])


def steadiness(changes_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one minus the change of each pair: 1 is perfectly still, 0 a strobe between black and white.

    The mean is VBench's temporal flickering. Source: arXiv 2311.17982, appendix; ``temporal_flickering.py`` of 0.1.5.
    """
    return 1 - changes_T


def seam_jumps(changes_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the change of each pair over the median change; 1 is an even pace, a cut stands out.

    Half a grey level is added to both, so that a frozen video is even and codec noise is not a seam.
    """
    return (changes_T + HALF_LEVEL) / (np.median(changes_T) + HALF_LEVEL)


def repeats(gray_THW: NDArray[np.floating], near: float = 0.1, away: float = 0.5) -> NDArray[np.bool_]:
    """Return which frames show again what the video had left, ``[T]``.

    Distances are root mean squares over a frame, relative to the largest in the video. A frame repeats an earlier one
    if their distance is less than ``near`` and a frame between them is farther than ``away``; so slow motion and a
    still picture do not repeat, while a loop and a strobe do.
    """
    distances = _distances(gray_THW.reshape(len(gray_THW), -1).astype(np.float64))
    reach = float(distances.max())
    if reach < HALF_LEVEL:
        return np.zeros(len(distances), bool)
    found = []
    for t, row in enumerate(distances / reach):
        left = np.flatnonzero(row[:t] > away)
        found.append(bool(len(left)) and bool((row[: left[-1]] < near).any()))
    return np.array(found)


def fast_share(gray_THW: NDArray[np.floating]) -> float:
    """Return the share of variation over time above a quarter cycle per frame, in [0, 1]; 0 for a frozen video.

    The mean at every position is removed and a sine-squared window prevents ringing at the ends.

    Raises:
        GenkitError: there are fewer than 4 frames.
    """
    count = len(gray_THW)
    if count < MIN_FRAMES_HF:
        raise GenkitError(f"fast variation needs at least {MIN_FRAMES_HF} frames; the video has {count}")
    window = np.sin(np.pi * (np.arange(count) + 0.5) / count)[:, None] ** 2
    signal = gray_THW.reshape(count, -1).astype(np.float64)
    signal = window * (signal - (window * signal).sum(0) / window.sum())
    power = np.abs(np.fft.rfft(signal, axis=0)) ** 2
    power[1 : (count + 1) // 2] *= 2  # these include their negative frequencies; 0 and Nyquist have none
    if power.sum() < count * signal.size * HALF_LEVEL**2 * 0.01:
        return 0.0
    return float(power[np.fft.rfftfreq(count) > 0.25].sum() / power[1:].sum())


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.dtype == np.uint8:
        return float(np.abs(a.astype(np.int16) - b).mean() / 255)
    return float(np.abs(a - b).mean(dtype=np.float64))


def _distances(features_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square between all pairs of rows, ``[T, T]``.

    Computed row by row, since a difference of squares would leave rounding noise where frames are equal.
    """
    return np.stack([np.sqrt(np.square(features_TN - row).mean(1)) for row in features_TN])
