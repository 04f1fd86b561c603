"""Blocks of a GIF, to check that it is complete.

Source: GIF89a specification, sections 18 to 27.
"""

import os
from typing import BinaryIO

IMAGE, EXTENSION, TRAILER = b",", b"!", b";"


def gif_ends(file: BinaryIO) -> bool:
    """Return True if the trailer of a GIF is there; bytes after it are ignored."""
    file.seek(10)
    file.seek(2 + _colours(file.read(1)), os.SEEK_CUR)
    while (kind := file.read(1)) in (IMAGE, EXTENSION):
        if kind == IMAGE:
            file.seek(8, os.SEEK_CUR)
            file.seek(_colours(file.read(1)), os.SEEK_CUR)
        file.seek(1, os.SEEK_CUR)  # the size of a code, or the label of an extension
        while length := int.from_bytes(file.read(1), "big"):
            file.seek(length, os.SEEK_CUR)
    return kind == TRAILER


def _colours(flags: bytes) -> int:
    """Size in bytes of the colour table announced by the flags of the screen or of an image."""
    value = int.from_bytes(flags, "big")
    return 3 << (value & 7) + 1 if value & 128 else 0
