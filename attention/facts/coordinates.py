"""The video among packed tokens, found by their coordinates."""

from dataclasses import dataclass
from math import isclose

from torch import Tensor

Volume = tuple[int, int, int]
"""Frames, rows and columns of tokens (of the finest level, in a UNet)."""


@dataclass(frozen=True)
class _Frame:
    """Tokens of one time that follow each other row by row."""

    first: int
    tokens: int
    cols: int
    begin: float
    end: float | None


def placed(coordinates: Tensor) -> tuple[int, Volume]:
    """Return how many tokens stand before the video, and its volume.

    Args:
        coordinates: time, row and column of each token, ``[B, 3, N]``, or where it begins and ends, ``[B, 3, N, 2]``.
            The video is the longest run of frames of one size that follow each other in time; other tokens are
            keyframes and references.

    Raises:
        ValueError: the frames of the video are not rows of one length.
    """
    runs: list[list[_Frame]] = []
    for frame in _frames(coordinates):
        if runs and _follows(frame, runs[-1][-1]):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    video = max(runs, key=lambda run: sum(frame.tokens for frame in run))
    tokens, cols = video[0].tokens, video[0].cols
    if tokens % cols:
        raise ValueError(f"a frame of {tokens} tokens does not have rows of {cols}; are these coordinates of a video?")
    return video[0].first, (len(video), tokens // cols, cols)


def _follows(frame: _Frame, last: _Frame) -> bool:
    """Whether a frame has the size of another and is the next one: it begins where that ends, if that is known."""
    if (frame.tokens, frame.cols) != (last.tokens, last.cols):
        return False
    if last.end is None:
        return frame.begin > last.begin
    return isclose(frame.begin, last.end, rel_tol=1e-3)


def _frames(coordinates: Tensor) -> list[_Frame]:
    """Split the tokens into frames: one begins wherever rows and columns do not go on, or the time changes."""
    one = coordinates[0].detach().double().cpu()
    time, row, col = one[..., 0] if one.ndim == 3 else one
    begins = (row[1:] < row[:-1]) | ((row[1:] == row[:-1]) & (col[1:] <= col[:-1])) | (time[1:] != time[:-1])
    firsts = [0, *(begins.nonzero().flatten() + 1).tolist(), len(time)]
    return [
        _Frame(
            first=first,
            tokens=after - first,
            cols=int((row[first:after] == row[first]).sum()),
            begin=float(time[first]),
            end=float(one[0, first, 1]) if one.ndim == 3 else None,
        )
        for first, after in zip(firsts, firsts[1:], strict=False)
    ]
