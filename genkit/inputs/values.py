"""Inputs that are no media: how much is changed, and how images are resized."""

from collections.abc import Mapping
from typing import Any

from genkit.checks.values import quote, real
from genkit.errors import UsageError
from genkit.inputs.words import RESIZES, Resize

USUAL: Resize = "crop"
"""What happens without a word: the middle of the image in the shape of the video."""


def check_strength(value: Any) -> float | None:
    """Return a strength as a float; None for None.

    Raises:
        UsageError: it is outside [0, 1].
    """
    number = None if value is None else real("strength", value)
    if number is not None and not 0 <= number <= 1:
        raise UsageError(f"strength={number:g} must be from 0 (unchanged) to 1 (made new)")
    return number


def check_resize(value: Any) -> Resize:
    """Return a way to resize; None is ``crop``.

    Raises:
        UsageError: there is no such way.
    """
    if value is None:
        return USUAL
    if value not in RESIZES:
        raise UsageError(f"resize={quote(value)} must be 'crop', 'fit' (stretched) or 'pad' (with bars)")
    return value  # type: ignore[no-any-return]


def check_words(words: Mapping[str, Any]) -> None:
    """Refuse values that no pipeline can use, before one is loaded.

    Raises:
        UsageError: ``strength`` is outside [0, 1], or ``resize`` is not a way to resize.
    """
    check_strength(words.get("strength"))
    check_resize(words.get("resize"))
