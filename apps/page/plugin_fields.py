"""The plug-ins as fields of a form, made from their dataclasses: a new plug-in appears by itself."""

import dataclasses
import typing
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.conflicts import conflict
from genkit.plugins.contract import Plugin

NONE = "none"
"""What a choice is called that is left to the model."""


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
    """The parameters of a plug-in, by its name in the catalogue; files of this machine are not for the page."""
    return list(_fields(plugin, catalogue.plugin_class(plugin)))


@cache
def _fields(plugin: str, cls: type[Plugin]) -> tuple[Field, ...]:
    hints, parameters = catalogue.types_of(cls), catalogue.describe(cls).parameters
    return tuple(
        _field(plugin, entry, hints[entry.name]) for entry in parameters if not catalogue.is_file(hints[entry.name])
    )


def _field(plugin: str, parameter: catalogue.Parameter, hint: Any) -> Field:
    options = [catalogue.bare(option) for option in catalogue.options(hint) if option is not type(None)]
    choices = [word for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)]
    kind: Literal["flag", "choice", "number", "text"] = "text"
    if options == [bool] and hint is not bool:
        choices = [NONE, "true", "false"]
    if choices:
        kind = "choice"
    elif options == [bool]:
        kind = "flag"
    elif set(options) <= {int, float}:
        kind = "number"
    field = Field(
        key=f"{plugin}.{parameter.name}",
        name=parameter.name,
        kind=kind,
        type=parameter.type,
        default=None,
        description=parameter.description,
        choices=tuple(map(str, choices)),
        whole=options == [int],
    )
    given = parameter.default
    return field if given is dataclasses.MISSING else dataclasses.replace(field, default=_shown(field, given))


def _shown(field: Field, value: Any) -> Any:
    """A value of the plug-in as it stands in its field."""
    if isinstance(value, tuple):
        return catalogue.tuple_text(value)
    if field.kind == "choice" and (value is None or isinstance(value, bool)):
        return str(value).lower() if NONE in field.choices else value
    return str(value) if field.kind == "text" and value is not None else value


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
    values = {field.key: _shown(field, getattr(plugin, field.name)) for field in fields(plugin.name)}
    return {plugin.name: True} | values


def left_out(text: str) -> list[str]:
    """The parameters of a plug-in in its textual form that are given there and not for the page."""
    plugin = catalogue.parse(text)
    files = catalogue.files_of(type(plugin))
    return [f"{plugin.name}.{name}" for name in files if getattr(plugin, name) is not None]


def conflicts(chosen: typing.Iterable[Plugin | type[Plugin]]) -> dict[str, str]:
    """By name: with which others that are chosen a plug-in cannot be combined, and why; classes stand for those whose
    parameters are wrong."""
    found: dict[str, list[str]] = {}
    for one, other in combinations(chosen, 2):
        if reason := conflict(one, other):
            sentence = f"{one.name} and {other.name} cannot be combined: {reason}."
            found.setdefault(one.name, []).append(sentence)
            found.setdefault(other.name, []).append(sentence)
    return {name: " ".join(sentences) for name, sentences in found.items()}
