"""How frames change along a video: flicker, seams, repetition, fast variation. Pure functions, no network.

Shape letters: T frames, H rows, W columns, C colours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.errors import GenkitError

HALF_LEVEL = 0.5 / 255
"""Half a grey level of 8 bits: what rounding alone may do to a pixel."""
LEAST_FRAMES_HF = 4
"""Fewer frames have no middle frequency to compare the fast half with."""


def changes(frames_THWC: NDArray[Any]) -> NDArray[np.float64]:
    """Mean absolute difference of each frame to the next, ``[T - 1]``, in [0, 1]."""
    return np.array([_difference(a, b) for a, b in zip(frames_THWC, frames_THWC[1:], strict=False)])


def steadiness(changes_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """One minus the change of each pair: 1 is perfectly still, a strobe between black and white is 0.

    Its mean is VBench's temporal flickering. Source: arXiv 2311.17982, appendix; ``temporal_flickering.py`` of 0.1.5.
    """
    return 1 - changes_T


def seam_jumps(changes_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of each pair over the median change; 1 is an even pace, a cut stands out.

    Half a grey level is added above and below, so that a frozen video is even and noise of the codec is no seam.
    """
    return (changes_T + HALF_LEVEL) / (np.median(changes_T) + HALF_LEVEL)


def repeats(gray_THW: NDArray[np.floating], near: float = 0.1, away: float = 0.5) -> NDArray[np.bool_]:
    """Which frames show again what the video had left, ``[T]``.

    Distances are root mean squares over a frame, relative to the largest of the video. A frame repeats an earlier one
    if it is nearer to it than ``near`` and a frame between them is farther than ``away``; so slow motion and a still
    picture repeat nothing, while a loop and a strobe do.
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
    """Share of the variation over time that is faster than a quarter cycle a frame, in [0, 1]; 0 for a frozen video.

    The mean of every place is removed and a sine-squared window keeps the ends from ringing.

    Raises:
        GenkitError: there are fewer than 4 frames.
    """
    count = len(gray_THW)
    if count < LEAST_FRAMES_HF:
        raise GenkitError(f"fast variation takes at least {LEAST_FRAMES_HF} frames; the video has {count}")
    window = np.sin(np.pi * (np.arange(count) + 0.5) / count)[:, None] ** 2
    signal = gray_THW.reshape(count, -1).astype(np.float64)
    signal = window * (signal - (window * signal).sum(0) / window.sum())
    power = np.abs(np.fft.rfft(signal, axis=0)) ** 2
    power[1 : (count + 1) // 2] *= 2  # these stand for their negative frequencies too; 0 and Nyquist are alone
    if power.sum() < count * signal.size * HALF_LEVEL**2 * 0.01:
        return 0.0
    return float(power[np.fft.rfftfreq(count) > 0.25].sum() / power[1:].sum())


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.dtype == np.uint8:
        return float(np.abs(a.astype(np.int16) - b).mean() / 255)
    return float(np.abs(a - b).mean(dtype=np.float64))


def _distances(features_TN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square between all pairs of rows, ``[T, T]``; row by row, since the difference of squares would
    leave rounding noise where frames are equal."""
    return np.stack([np.sqrt(np.square(features_TN - row).mean(1)) for row in features_TN])
