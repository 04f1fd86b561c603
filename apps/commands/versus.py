"""Sides of `genkit compare`: one command line, split at every ``--versus``.

The prompt, the shared flags and the plug-ins of the first side come before the first ``--versus``. Each ``--versus`` is
followed by another side's own plug-ins and changes; shared flags may also appear there, since people write them last.
"""

import shlex
from collections.abc import Sequence
from typing import Any

from genkit.apps.commands.flags import request_from
from genkit.errors import UsageError
from genkit.request import OPENING, Request

COMMAND, MARK = "compare", "--versus"
OWN = ("--with", "--set", "--num-frames", "--num-inference-steps", "--steps", "--guidance-scale")
"""Flags of one side, each with one value."""
SHARED = ("prompt", "seed", "height", "width", "fps", *OPENING)
"""Fields that a side cannot change: the noise has to be the same, and the model is opened once."""


def fold(tokens: Sequence[str]) -> list[str]:
    """Bring the tokens of `genkit compare` into a form without order: each further side becomes one value.

    ``compare P --with A --versus --with B --out run`` becomes ``compare P --with A --out run --versus='--with B'``;
    other commands' tokens are returned unchanged.
    """
    if not tokens or tokens[0] != COMMAND or MARK not in tokens:
        return list(tokens)
    first, *groups = _cut(tokens)
    for group in groups:
        side, rest = _divide(group)
        first += [*rest, f"{MARK}={shlex.join(side)}"]
    return first


def sides_of(first: Request, texts: Sequence[str]) -> list[Request]:
    """Return the requests of all sides: ``first`` as it is, the others from the texts made by :func:`fold`.

    Each further side starts from the first, without its plug-ins.

    Raises:
        UsageError: there is only one side, or one cannot be read or changes a shared field.
    """
    if not texts:
        raise UsageError(
            "a comparison needs two or more sides; add --versus and the flags of the other side, "
            "as in --with freenoise --versus --with freelong"
        )
    return [first, *(_side(first, text, number) for number, text in enumerate(texts, 2))]


def _cut(tokens: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for token in tokens:
        if token == MARK:
            groups.append([])
        else:
            groups[-1].append(token)
    return groups


def _divide(group: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a group into the tokens of the side, with their values, and those of the whole comparison."""
    side, rest, waiting = [], [], list(group)
    while waiting:
        token = waiting.pop(0)
        flag, equals, _ = token.partition("=")
        if flag.replace("_", "-") not in OWN:
            rest.append(token)
            continue
        side.append(token)
        if not equals and waiting:
            side.append(waiting.pop(0))
    return side, rest


def _side(first: Request, text: str, number: int) -> Request:
    plugins, settings = [], []
    for flag, value in _flags(text, number):
        if flag == "--with":
            plugins.append(value)
        else:
            settings.append(value if flag == "--set" else f"{flag.removeprefix('--')}={value}")
    values: dict[str, Any] = first.model_dump(exclude_unset=True) | {"plugins": tuple(plugins)}
    side = request_from(values, settings)
    for name in SHARED:
        if getattr(side, name) != getattr(first, name):
            raise UsageError(f"side {number} sets {name}, which all sides share; set it once, before --versus")
    return side


def _flags(text: str, number: int) -> list[tuple[str, str]]:
    """Flags of a side with their values."""
    found, waiting = [], shlex.split(text)
    while waiting:
        flag, equals, value = waiting.pop(0).partition("=")
        flag = flag.replace("_", "-")
        if flag not in OWN:
            raise UsageError(f"side {number} has {flag!r}; a side takes {', '.join(OWN)}")
        if not equals:
            if not waiting:
                raise UsageError(f"{flag} of side {number} requires a value")
            value = waiting.pop(0)
        found.append((flag, value))
    return found
