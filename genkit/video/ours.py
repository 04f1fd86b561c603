"""Recognition of files that genkit made, by content and never by name. No other file is overwritten."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from genkit.errors import GenkitError, UsageError
from genkit.files.decode import read_header
from genkit.plugins.budget import is_budget
from genkit.video.recipe import GENERATOR, has_recipe, is_recipe

__all__ = ["MARK", "SVG_MARK", "check_ours", "is_budget", "is_film", "is_picture", "is_recipe"]

MARK = {"generator": GENERATOR}
"""Tag of a video without a recipe: it names what wrote the file and reveals nothing of the request."""
SVG_MARK = f"<metadata>{GENERATOR}</metadata>"
HEAD = 4096
"""Leading bytes of a picture that contain its mark."""


def is_film(path: Path) -> bool:
    """Return True if ``path`` is a video that genkit wrote, with its recipe or only with :data:`MARK`."""
    try:
        header = read_header(path)
    except GenkitError:
        return False
    return header.generator == GENERATOR or has_recipe(header)


def is_picture(path: Path) -> bool:
    """Return True if ``path`` is a contact sheet or a drawing that genkit wrote, PNG or SVG."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(HEAD)
        png = head.startswith(b"\x89PNG") and f"Software\0{GENERATOR}".encode() in head
        return png or (head.startswith(b"<svg ") and SVG_MARK.encode() in head)
    return False


def check_ours(path: Path, ours: Callable[[Path], bool], what: str) -> None:
    """Refuse to overwrite a file that genkit did not make; an empty file may be replaced.

    Args:
        path: the file that would be written.
        ours: returns True if genkit made it, judged by its content.
        what: its name in the error, such as ``video``.

    Raises:
        UsageError: it is a file that genkit did not make, or not a regular file.
    """
    if not os.path.exists(path) or (path.is_file() and not path.stat().st_size):
        return
    if not path.is_file() or not ours(path):
        raise UsageError(
            f"{str(path)!r} already exists and is not a {what} that genkit made; choose another name, or remove it"
        )
