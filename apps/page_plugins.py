"""The plug-ins as fields of a form, made from their dataclasses: a new plug-in appears by itself."""

import dataclasses
import types
import typing
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

from genkit import catalogue
from genkit.conflicts import conflict
from genkit.errors import UsageError
from genkit.plugin import Plugin


@dataclass(frozen=True, kw_only=True)
class Field:
    """One parameter of a plug-in, as a person fills it in."""

    key: str
    """``plugin.parameter``."""
    name: str
    kind: Literal["flag", "choice", "number", "text"]
    type: str
    """The type as users read it."""
    default: Any
    """What stands there at first; None is an empty field, and stands for the plug-in's own default."""
    description: str
    choices: tuple[str, ...] = ()
    whole: bool = False
    """Whether a number must be whole."""


def fields(plugin: str) -> list[Field]:
    """The parameters of a plug-in, by its name in the catalogue."""
    return list(_fields(plugin, catalogue.plugin_class(plugin)))


@cache
def _fields(plugin: str, cls: type[Plugin]) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(_field(plugin, parameter, hints[parameter.name]) for parameter in catalogue.describe(cls).parameters)


def _field(plugin: str, parameter: catalogue.Parameter, hint: Any) -> Field:
    united = typing.get_origin(hint) in (typing.Union, types.UnionType)
    options = [option for option in (typing.get_args(hint) if united else (hint,)) if option is not type(None)]
    literals = [word for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)]
    kind: Literal["flag", "choice", "number", "text"] = "text"
    if literals:
        kind = "choice"
    elif options == [bool]:
        kind = "flag"
    elif set(options) <= {int, float}:
        kind = "number"
    given = parameter.default if parameter.default is not dataclasses.MISSING else None
    return Field(
        key=f"{plugin}.{parameter.name}",
        name=parameter.name,
        kind=kind,
        type=parameter.type,
        default=given if kind != "text" or given is None else str(given),
        description=parameter.description,
        choices=tuple(map(str, literals)),
        whole=options == [int],
    )


def made(plugin: str, values: typing.Mapping[str, Any]) -> Plugin:
    """The plug-in that a filled-in form describes; fields that are empty or missing keep their defaults.

    Raises:
        UsageError: a value that the plug-in refuses, or that its textual form cannot hold.
    """
    given = {field.name: _value(field, values.get(field.key, field.default)) for field in fields(plugin)}
    cls = catalogue.plugin_class(plugin)
    try:
        found = catalogue.make(cls, {name: value for name, value in given.items() if value is not None})
    except TypeError as error:  # a parameter without a default was left empty
        raise UsageError(f"{plugin}: fill in every field; {error}") from error
    try:
        kept = catalogue.parse(catalogue.text_of(found))
    except UsageError:
        kept = None
    if kept != found:
        raise UsageError(f"{plugin}: a text here cannot hold both kinds of quotes; leave one kind out")
    return found


def number(value: Any) -> Any:
    """What stands in a field for a number: a text where the field may be empty, because a browser's empty number is 0.

    Returns:
        The number, whole where it can be; None for an empty text; anything else as it is.

    Raises:
        UsageError: the text is no number.
    """
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        found = float(value)
    except ValueError:
        raise UsageError(f"{value.strip()[:40]!r} is no number") from None
    return int(found) if found.is_integer() else found


def _value(field: Field, value: Any) -> Any:
    value = number(value) if field.kind == "number" else value
    if field.kind == "number" and isinstance(value, float) and field.whole and value == int(value):
        return int(value)
    return None if value == "" else value


def settings(text: str) -> dict[str, Any]:
    """The form's values for a plug-in in its textual form, the tick included.

    Raises:
        UsageError: this installation knows no such plug-in.
    """
    plugin = catalogue.parse(text)
    return {plugin.name: True} | {field.key: getattr(plugin, field.name) for field in fields(plugin.name)}


def conflicts(chosen: typing.Iterable[str]) -> dict[str, str]:
    """By plug-in: with which others that are chosen it cannot be combined, and why."""
    found: dict[str, list[str]] = {}
    for one, other in combinations(chosen, 2):
        if reason := conflict(one, other):
            sentence = f"{one} and {other} cannot be combined: {reason}."
            found.setdefault(one, []).append(sentence)
            found.setdefault(other, []).append(sentence)
    return {name: " ".join(sentences) for name, sentences in found.items()}
