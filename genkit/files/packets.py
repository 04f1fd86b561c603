"""Packets of a video file, counted and timed without decoding and without trusting headers."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from genkit.checks.values import MAX_RATE, MIN_RATE
from genkit.errors import GenkitError
from genkit.files.container import ffmpeg_errors, open_video

BY_INDEX, REORDERED = 0.25, 4
"""Max distance between the duration by FFmpeg's rate (from a complete index) and by the time stamps, as a share and in
frames: cuts and reordered frames shift the latter."""
ROUNDING = 2e-3
"""The same share for a rate from a header; time stamps are rounded, in Matroska to milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Packets:
    """Packets of a file's video stream."""

    frames: int
    """Frames that a player shows: those hidden by an edit list, as after a cut, are not counted."""
    hidden: int
    """Frames that are decoded but not shown."""
    stored: int
    """Frames that the file should contain, as far as its index states; at least ``frames``."""
    fps: float
    """Number of frames over seconds."""
    whole: bool
    """True if every packet could be read to its end."""


def survey(path: Path) -> Packets:
    """Count and time the frames of a video file without decoding them.

    ``fps`` is the number of frames over seconds, even at a variable rate, as VBench's rule for sampling frames takes
    it: OpenCV and decord return FFmpeg's ``avg_frame_rate``, which an MP4's index determines. With other containers
    FFmpeg guesses it from the first frames, so there the time stamps of all frames decide.

    Raises:
        UsageError: as :func:`genkit.files.container.open_video`.
        GenkitError: frames follow each other slower or faster than a video can.
    """
    with open_video(path) as (container, stream):
        shown, hidden, whole = _packets(container, stream)
        form = container.format.name
        stored = max(len(shown), stream.frames - hidden) if form.startswith("mov") else len(shown)
        fps = _rate(stream, shown, form) if shown else 0.0
    if shown and not MIN_RATE <= fps <= MAX_RATE:
        raise GenkitError(
            f"{str(path)!r} shows {len(shown)} frames at {fps:.4g} per second; a video has between {MIN_RATE:g} and "
            f"{MAX_RATE:g}"
        )
    return Packets(frames=len(shown), hidden=hidden, stored=stored, fps=fps, whole=whole)


def _packets(container: Any, stream: Any) -> tuple[list[tuple[int | None, int]], int, bool]:
    """Time stamp and duration of each shown packet, the number of hidden ones, and True if all could be read."""
    shown: list[tuple[int | None, int]] = []
    hidden, whole = 0, True
    try:
        for packet in container.demux(stream):
            if packet.size and packet.is_discard:
                hidden += 1
            elif packet.size:
                shown.append((packet.dts if packet.pts is None else packet.pts, packet.duration or 0))
                whole = whole and not packet.is_corrupt
    except ffmpeg_errors():
        whole = False
    return shown, hidden, whole


def _rate(stream: Any, shown: list[tuple[int | None, int]], form: str) -> float:
    """Number of frames over seconds: FFmpeg's value from a complete index, else from the time stamps."""
    declared = stream.average_rate
    stamps = sorted((stamp, length) for stamp, length in shown if stamp is not None)
    if len(stamps) < len(shown) or stamps[0][0] == stamps[-1][0]:
        return float(declared or 0)
    gaps = [later[0] - earlier[0] for earlier, later in zip(stamps, stamps[1:], strict=False)]
    last = stamps[-1][1] if form != "avi" and stamps[-1][1] else median(gaps)  # AVI stores no durations
    seconds = (stamps[-1][0] - stamps[0][0] + last) * stream.time_base
    if declared:
        off = abs(len(shown) / declared - seconds)
        if off <= ROUNDING * seconds or form.startswith("mov") and off <= max(BY_INDEX * seconds, REORDERED / declared):
            return float(declared)
    return float(len(shown) / seconds)
