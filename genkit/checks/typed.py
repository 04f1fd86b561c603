"""Values read by the type of their field: texts of a command line or a form, JSON, values of Python."""

import ast
import types
import typing
from typing import Any

from genkit.errors import UsageError

WORDS = {"none": None, "true": True, "false": False}
"""Texts that are values of Python, in any case."""
_NO_FIT = object()


def convert(value: Any, hint: Any, what: str) -> Any:
    """Return ``value`` as the first type of ``hint`` that it fits; texts are read as on a command line.

    Args:
        hint: a type, ``Literal``, tuple type, or a union of them.
        what: name of the value in the error.

    Raises:
        UsageError: it fits none of the types.
    """
    found = _match(value, hint, texts=True)
    if found is _NO_FIT:
        raise UsageError(f"{what}={value!r} is not of type {type_name(hint)}")
    return found


def fits(value: Any, hint: Any) -> bool:
    """Return True if a value of Python has one of the types of ``hint``; texts are not read, a float may be an int."""
    return _match(value, hint, texts=False) is not _NO_FIT


def number(text: str) -> float | int | None:
    """Return the number in a text, an int if it is whole; None for an empty text.

    Raises:
        UsageError: the text is not a number.
    """
    if not text.strip():
        return None
    try:
        found = float(text)
    except ValueError:
        raise UsageError(f"{text.strip()[:40]!r} is not a number") from None
    return int(found) if found.is_integer() else found


def options(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union; any other type alone."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def bare(hint: Any) -> Any:
    """Return a type without its ``Annotated`` part."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def type_name(hint: Any) -> str:
    """Return the name of a type for users: ``int or None``, ``'a' or 'b'``; the annotation of an ``Annotated`` type."""
    if typing.get_origin(hint) is typing.Annotated:
        return str(typing.get_args(hint)[1])
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if len(options(hint)) > 1:
        return " or ".join(map(type_name, options(hint)))
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def value_text(value: Any) -> str:
    """Return the text that :func:`convert` reads as ``value``; texts with a comma or a quote are quoted."""
    if isinstance(value, tuple):
        return tuple_text(value)
    return repr(value) if isinstance(value, str) and set(value) & set(",'\"") else str(value)


def tuple_text(value: tuple[Any, ...]) -> str:
    """Return a tuple as :func:`convert` reads it: ``6x8x8``."""
    return "x".join(map(str, value)) or "none"


def _match(value: Any, hint: Any, texts: bool) -> Any:
    read = _literal(value) if texts and isinstance(value, str) else value
    for choice in map(bare, options(hint)):
        if choice is type(None) and read is None:
            return None
        if typing.get_origin(choice) is typing.Literal and value in typing.get_args(choice):
            return value
        if choice is float and isinstance(read, (int, float)) and not isinstance(read, bool):
            return float(read)
        if choice in (int, bool) and type(read) is choice:
            return read
        if choice is str and isinstance(value, str):
            return read if isinstance(read, str) else value
        if typing.get_origin(choice) is tuple and (items := _items(value, choice, texts)) is not None:
            return items
    return _NO_FIT


def _items(value: Any, hint: Any, texts: bool) -> tuple[Any, ...] | None:
    """Tuple from a text such as ``6x8x8`` (``none`` is empty), a list or a tuple; None if its items do not fit."""
    parts: Any = value
    if texts and isinstance(value, str):
        parts = [] if _literal(value) is None else value.lower().split("x")
    kinds = typing.get_args(hint)
    if not isinstance(parts, (list, tuple) if texts else tuple):
        return None
    if kinds[-1] is not Ellipsis and len(kinds) != len(parts):
        return None
    each = kinds[:1] * len(parts) if kinds[-1] is Ellipsis else kinds
    items = tuple(_match(part, kind, texts) for part, kind in zip(parts, each, strict=True))
    return None if _NO_FIT in items else items


def _literal(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
