"""Regular expressions for the names of modules that were seen, which also match those of a larger model."""

import re
from collections.abc import Iterable

NUMBER = r"\d+"
LONG = 100
"""Characters of an expression for which a shorter one is looked for."""
ENDS = 5
"""Parts of a name that stay in a shorter one."""
Parts = tuple[str, ...]


def pattern_of(names: Iterable[str], apart: Iterable[str] = ()) -> str:
    """Return a regular expression that matches all ``names`` in full, with any numbers, and none of ``apart``.

    Numbers stay as they are where others would match one of ``apart``.
    """
    seen, others = list(names), list(apart)
    general = _merged([_parts(name, general=True) for name in seen])
    short = _merged([(".*", *parts[-ENDS:]) if len(parts) > ENDS else parts for parts in general])
    exact = _merged([_parts(name, general=False) for name in seen])
    tries = [short, general, exact] if len(_text(general)) > LONG else [general, exact]
    texts = [_text(found) for found in tries]
    return next((text for text in texts if not any(re.fullmatch(text, other) for other in others)), texts[-1])


def numberless(name: str) -> str:
    """Return the name of a module with N in the place of numbers."""
    return ".".join("N" if part.isdigit() else part for part in name.split("."))


def _text(found: list[Parts]) -> str:
    return "|".join(r"\.".join(parts).replace(r".*\.", r".*\b", 1) for parts in found)


def _parts(name: str, general: bool) -> Parts:
    return tuple(NUMBER if general and part.isdigit() else re.escape(part) for part in name.split("."))


def _merged(names: list[Parts]) -> list[Parts]:
    """Join names that differ in one part alone: ``a.attn1`` and ``a.attn2`` are ``a.(attn1|attn2)``."""
    found = list(dict.fromkeys(names))
    for first, one in enumerate(found):
        for second in range(first + 1, len(found)):
            joined = _joined(one, found[second])
            if joined is not None:
                return _merged([*found[:first], joined, *found[first + 1 : second], *found[second + 1 :]])
    return found


def _joined(one: Parts, other: Parts) -> Parts | None:
    differ = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if len(one) != len(other) or len(differ) != 1:
        return None
    place = differ[0]
    choices = "|".join(choice.removeprefix("(").removesuffix(")") for choice in (one[place], other[place]))
    return (*one[:place], f"({choices})", *one[place + 1 :])
