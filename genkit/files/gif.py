"""The blocks of a GIF, as far as they tell whether it is whole.

Source: GIF89a specification, sections 18 to 27.
"""

import os
from typing import BinaryIO

IMAGE, EXTENSION, TRAILER = b",", b"!", b";"


def gif_ends(file: BinaryIO) -> bool:
    """Return whether the trailer of a GIF is there; what lies behind it is not looked at."""
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
    """Bytes of the table of colours that the flags of the screen or of an image announce."""
    value = int.from_bytes(flags, "big")
    return 3 << (value & 7) + 1 if value & 128 else 0
