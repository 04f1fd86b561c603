"""Checks of single values from users, by any interface: each refusal names the value, the rule and the fix.

Numbers of NumPy and torch, as passed by programs, become Python's own; texts that look like numbers do not.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from genkit.errors import UsageError

LIMIT = 2**63
"""Whole numbers must be below this."""
MIN_RATE, MAX_RATE = 0.1, 1000.0
"""Limits of a video's frames per second."""
MAX_LETTERS = 60
"""Letters of a refused value that are shown."""


def quote(value: object) -> str:
    """Return a value as a message quotes it: on one line, and shortened if it is long."""
    if is_tensor(value):
        return f"a {type(value).__name__} of shape {list(value.shape)}"  # type: ignore[attr-defined]
    try:
        text = repr(value).replace("\n", " ")
    except ValueError:  # more digits than Python converts to text
        text = f"a number of {value.bit_length()} bits"  # type: ignore[attr-defined]
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 3] + "..."


def whole(name: str, value: Any, minimum: int | None = 1) -> int:
    """Return a whole number of at least ``minimum`` (None: any) as an int; bools, floats and texts are refused.

    Raises:
        UsageError: it is something else.
    """
    plain = _plain(value)
    try:
        number = None if isinstance(plain, bool) else operator.index(plain)
    except (TypeError, RuntimeError):
        number = None
    if number is None or (minimum is not None and number < minimum) or number >= LIMIT:
        rule = "" if minimum is None else f" of at least {minimum}"
        limit = " below 2**63" if number is not None and number >= LIMIT else ""
        raise UsageError(f"{name}={quote(value)} must be a whole number{rule}{limit}")
    return number


def real(name: str, value: Any, minimum: float = -math.inf) -> float:
    """Return a finite number of at least ``minimum`` as a float; bools and texts are refused.

    Raises:
        UsageError: it is something else.
    """
    number = _as_float(_plain(value))
    if not math.isfinite(number) or number < minimum:
        rule = "a finite number" if minimum == -math.inf else f"a finite number of at least {minimum:g}"
        raise UsageError(f"{name}={quote(value)} must be {rule}")
    return number


def check_rate(fps: Any) -> float:
    """Return frames per second as a float.

    Raises:
        UsageError: it is not a number, or outside ``MIN_RATE`` to ``MAX_RATE``.
    """
    rate = _as_float(_plain(fps))
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UsageError(
            f"fps={quote(fps)} must be a number of frames per second between {MIN_RATE:g} and {MAX_RATE:g}"
        )
    return rate


def flag(name: str, value: Any) -> bool:
    """Return True or False; raise ``UsageError`` for anything else."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise UsageError(f"{name}={quote(value)} must be True or False")
    return plain


def text(name: str, value: Any) -> str:
    """Return a text that every tokenizer and every file can store.

    Raises:
        UsageError: it is not a text, or contains bytes that are not UTF-8 (lone surrogates) or the letter NUL.
    """
    if not isinstance(value, str):
        several = "; make one video for each" if isinstance(value, Sequence) and not isinstance(value, bytes) else ""
        raise UsageError(f"{name}={quote(value)} must be a text{several}")
    for place, letter in enumerate(value):
        if "\ud800" <= letter <= "\udfff":
            raise UsageError(f"{name} is not valid UTF-8 at letter {place + 1} ({letter!r}); give it in UTF-8")
        if letter == "\0":
            raise UsageError(f"{name} contains the letter NUL at place {place + 1}; remove it")
    return value


def reals(name: str, value: Any) -> list[float] | list[int]:
    """Return a list, tuple or array of one axis with finite numbers as a list; at least one.

    Raises:
        UsageError: it is something else.
    """
    items = value.tolist() if is_tensor(value) else value
    if not isinstance(items, Sequence) or isinstance(items, str | bytes) or not items:
        raise UsageError(f"{name}={quote(value)} must be a list of numbers")
    return [item if type(item) is int else real(f"{name}[{place}]", item) for place, item in enumerate(items)]


def real_or_reals(name: str, value: Any) -> Any:
    """Return a finite number, or a list of them; raise ``UsageError`` for anything else."""
    return reals(name, value) if isinstance(value, Sequence) and not isinstance(value, str) else real(name, value)


def names(name: str, value: Any) -> list[str]:
    """Return a list of texts; raise ``UsageError`` for anything else."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{name}={quote(value)} must be a list of names")
    return list(value)


def function(name: str, value: Any) -> Callable[..., Any]:
    """Return something that can be called; raise ``UsageError`` for anything else."""
    if not callable(value) or isinstance(value, type):
        raise UsageError(f"{name}={quote(value)} must be a function, which only Python can pass; leave it out here")
    return value  # type: ignore[no-any-return]


def mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a dict with texts as keys; raise ``UsageError`` for anything else."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{name}={quote(value)} must be a mapping of names to values")
    return dict(value)


def is_tensor(value: object) -> bool:
    """Return True for an array of torch or NumPy, recognised by its attributes so that neither is imported."""
    return all(hasattr(value, name) for name in ("shape", "dtype", "tolist", "ndim"))


def _as_float(value: Any) -> float:
    """Return a number as a float; NaN if it is not a number, or too large."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy or torch as Python's own; anything else unchanged."""
    return value.item() if is_tensor(value) and value.ndim == 0 and not getattr(value, "is_meta", False) else value
