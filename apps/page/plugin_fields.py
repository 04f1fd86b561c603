"""Plug-ins as form fields, generated from their dataclasses: a new plug-in appears by itself."""

import dataclasses
import typing
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

from genkit.checks import typed
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.conflicts import conflict
from genkit.plugins.contract import Plugin

NONE = "none"
"""Name of the choice that leaves a value to the model."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """Form field of one plug-in parameter."""

    key: str
    """``plugin.parameter``."""
    name: str
    kind: Literal["flag", "choice", "number", "text"]
    type: str
    """The type as users read it."""
    default: Any
    """Initial value; None is an empty field, and stands for the plug-in's own default."""
    description: str
    choices: tuple[str, ...] = ()
    whole: bool = False
    """True if a number must be whole."""


def fields(plugin: str) -> list[Field]:
    """Return the fields of a plug-in, by its name in the catalogue; parameters that name files are excluded."""
    return list(_fields(plugin, catalogue.plugin_class(plugin)))


@cache
def _fields(plugin: str, cls: type[Plugin]) -> tuple[Field, ...]:
    hints, parameters = catalogue.types_of(cls), catalogue.describe(cls).parameters
    return tuple(
        _field(plugin, entry, hints[entry.name]) for entry in parameters if not catalogue.is_file(hints[entry.name])
    )


def _field(plugin: str, parameter: catalogue.Parameter, hint: Any) -> Field:
    options = [typed.bare(option) for option in typed.options(hint) if option is not type(None)]
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
    return field if given is dataclasses.MISSING else dataclasses.replace(field, default=_field_value(field, given))


def _field_value(field: Field, value: Any) -> Any:
    """Value of the plug-in as its field shows it."""
    if isinstance(value, tuple):
        return typed.tuple_text(value)
    if field.kind == "choice" and (value is None or isinstance(value, bool)):
        return str(value).lower() if NONE in field.choices else value
    return str(value) if field.kind == "text" and value is not None else value


def make_plugin(plugin: str, values: typing.Mapping[str, Any]) -> Plugin:
    """Create the plug-in that a filled-in form describes; empty or missing fields keep their defaults.

    Raises:
        UsageError: a value is refused by the plug-in, or cannot be written in its textual form.
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
        raise UsageError(f"{plugin}: a text here cannot contain both kinds of quotes; use only one kind")
    return found


def number(value: Any) -> Any:
    """Read a number field, which is text if it may be empty, because a browser's empty number is 0.

    Returns:
        The number, whole if it can be; None for an empty text; anything else unchanged.

    Raises:
        UsageError: the text is not a number.
    """
    return typed.number(value) if isinstance(value, str) else value


def _value(field: Field, value: Any) -> Any:
    value = number(value) if field.kind == "number" else value
    if field.kind == "number" and isinstance(value, float) and field.whole and value == int(value):
        return int(value)
    return None if value == "" else value


def settings(text: str) -> dict[str, Any]:
    """Return the form's values for a plug-in in its textual form, including its tick.

    Raises:
        UsageError: this installation has no such plug-in.
    """
    plugin = catalogue.parse(text)
    values = {field.key: _field_value(field, getattr(plugin, field.name)) for field in fields(plugin.name)}
    return {plugin.name: True} | values


def omitted_parameters(text: str) -> list[str]:
    """Return the parameters set in a plug-in's textual form that the page does not offer."""
    plugin = catalogue.parse(text)
    files = catalogue.files_of(type(plugin))
    return [f"{plugin.name}.{name}" for name in files if getattr(plugin, name) is not None]


def conflicts(chosen: typing.Iterable[Plugin | type[Plugin]]) -> dict[str, str]:
    """Return, by name, the reasons that chosen plug-ins conflict; a class stands for one with invalid parameters."""
    found: dict[str, list[str]] = {}
    for one, other in combinations(chosen, 2):
        if reason := conflict(one, other):
            sentence = f"{one.name} and {other.name} cannot be combined: {reason}."
            found.setdefault(one.name, []).append(sentence)
            found.setdefault(other.name, []).append(sentence)
    return {name: " ".join(sentences) for name, sentences in found.items()}
