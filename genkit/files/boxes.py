"""Boxes of an MP4 or QuickTime file, to check that it is complete and its index plausible.

Source: ISO/IEC 14496-12, sections 4.2 and 8.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from genkit.errors import UsageError

NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf")
"""Boxes that contain boxes, on the way to the index."""
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4, b"elst": 4}
"""Boxes that state how many samples or edits follow, with the offset of that number."""
EDITS = 32
"""Max edits of a track before they are multiplied; a cut makes one or two."""
INDEX = 10**7
"""Max entries in the index of a track when every edit shows every sample."""


def boxes_end(file: BinaryIO, size: int) -> int:
    """Return the end of the last outermost box; beyond ``size`` if the file was cut."""
    return max((end for _, _, end in _boxes(file, 0, size)), default=0)


def check_index(path: Path, file: BinaryIO, size: int) -> None:
    """Refuse an index that would fill the memory when FFmpeg expands it.

    Raises:
        UsageError: it claims more samples than the file has bytes, or so many edits of a track that they multiply.
    """
    samples, edits = Counter[int](), Counter[int]()
    for track, kind, count in _claims(file, size):
        (edits if kind == b"elst" else samples)[track] += count
    multiplied = any(n > EDITS and n * samples[track] > INDEX for track, n in edits.items())
    if multiplied or samples.total() > size:
        raise UsageError(
            f"the index of {str(path)!r} has {edits.total():,} edits of {samples.total():,} samples in {size:,} bytes: "
            "it is damaged, or made to fill the memory"
        )


def _claims(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Each count that the index claims: offset of its track (0 outside any), box, number."""
    waiting = [(0, size, 0)]
    while waiting:
        first, stop, track = waiting.pop()
        for kind, start, end in _boxes(file, first, stop):
            if kind in NESTED:
                waiting.append((start, min(end, size), start if kind == b"trak" else track))
            elif kind in COUNTS:
                file.seek(start + COUNTS[kind])
                yield track, kind, int.from_bytes(file.read(4), "big")


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box that starts in a range."""
    while start + 8 <= stop:
        file.seek(start)
        head = file.read(16)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:  # the size follows in eight bytes
            length, header = int.from_bytes(head[8:], "big"), 16
        if length == 0:  # to the end of the file
            length = stop - start
        if length < header:  # garbage after the boxes
            return
        yield head[4:8], start + header, start + length
        start += length
