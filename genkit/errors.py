"""Errors that users see: each is one sentence that names the value, the rule and the fix."""

import difflib
from collections.abc import Iterable


class GenkitError(Exception):
    """A request could not be carried out."""


class UsageError(GenkitError, ValueError):
    """The request itself is invalid: an unknown name, a value out of range, an impossible combination."""


class NotFiniteError(GenkitError, ArithmeticError):
    """The text, the latents or the frames of a generation became NaN or infinite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a closing hint for an unknown ``name``: the nearest known one, or all of them."""
    names = sorted(known)
    holding = sorted((known for known in names if len(name) > 3 and name in known), key=len)
    close = holding or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason was given")


FULL = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "cannot allocate memory")
"""Lower-case phrases by which libraries report full memory without an error class for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error of Python, NumPy, torch or a driver reports that memory is full."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(words in said for words in FULL)
