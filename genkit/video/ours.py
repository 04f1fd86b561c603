"""Which files genkit made: what is inside tells, never the name. Nothing else is written over."""

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
"""The tag of a video without a recipe: it says what wrote the file and nothing of what was asked for."""
SVG_MARK = f"<metadata>{GENERATOR}</metadata>"
HEAD = 4096
"""Bytes of a picture in which its mark stands."""


def is_film(path: Path) -> bool:
    """Whether ``path`` is a video that genkit wrote, with its recipe or with :data:`MARK` only."""
    try:
        header = read_header(path)
    except GenkitError:
        return False
    return header.generator == GENERATOR or has_recipe(header)


def is_picture(path: Path) -> bool:
    """Whether ``path`` is a contact sheet or a drawing that genkit wrote, PNG or SVG."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(HEAD)
        png = head.startswith(b"\x89PNG") and f"Software\0{GENERATOR}".encode() in head
        return png or (head.startswith(b"<svg ") and SVG_MARK.encode() in head)
    return False


def check_ours(path: Path, ours: Callable[[Path], bool], what: str) -> None:
    """Refuse to write over a file that genkit did not make; an empty one, and none, may be replaced.

    Args:
        path: what would be written.
        ours: tells by the content whether genkit made it.
        what: its name in the error, such as ``video``.

    Raises:
        UsageError: somebody else's file is there, or something that is no file.
    """
    if not os.path.exists(path) or (path.is_file() and not path.stat().st_size):
        return
    if not path.is_file() or not ours(path):
        raise UsageError(
            f"{str(path)!r} is there already and is no {what} that genkit made; choose another name, or remove it"
        )
