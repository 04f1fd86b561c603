"""The plug-ins by name, and what can be told about each from its dataclass."""

import ast
import dataclasses
import inspect
import typing
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from genkit.checks.typed import convert, options, type_name, value_text
from genkit.errors import UsageError, nearest
from genkit.plugins.builtin import PLUGINS
from genkit.plugins.contract import FilePath, Plugin
from genkit.plugins.earlier import check_name, check_parameter
from genkit.plugins.text import join_text, split_text

MEMBERS = ("name", "title", "paper", "seams", "claims", "parts")
"""What the class of every plug-in has, see ``contract.Plugin``."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One field of a plug-in."""

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class PluginCard:
    """What users are told about a plug-in."""

    name: str
    title: str
    paper: str
    seams: tuple[str, ...]
    claims: tuple[str, ...]
    summary: str
    parameters: tuple[Parameter, ...]


def names() -> list[str]:
    """Every known plug-in name, sorted."""
    return sorted(_known())


def _known() -> dict[str, str]:
    """Built-in plug-ins and those of other packages (entry-point group ``genkit.plugins``)."""
    found = {entry.name: entry.value for entry in entry_points(group="genkit.plugins")}
    if clash := sorted(found.keys() & PLUGINS.keys()):
        raise UsageError(f"installed plug-ins may not replace built-in ones: {', '.join(clash)}; rename them")
    return PLUGINS | found


def plugin_class(name: str) -> type[Plugin]:
    """Return the dataclass of a plug-in.

    Raises:
        UsageError: no such plug-in; the nearest name is given. Or one of another package that lacks a member.
    """
    known = PLUGINS if name in PLUGINS else _known()  # looking for those of other packages takes a while
    if name not in known:
        check_name(name)
        raise UsageError(f"there is no plug-in called {name!r}; {nearest(name, known)}")
    module, _, attribute = known[name].partition(":")
    found: type[Plugin] = getattr(import_module(module), attribute)
    if missing := [member for member in MEMBERS if not hasattr(found, member)]:
        raise UsageError(
            f"the plug-in {name!r} ({known[name]}) has no {missing[0]!r}; a plug-in declares {', '.join(MEMBERS)}"
        )
    return found


def parse(text: str) -> Plugin:
    """Make a plug-in from ``"name"`` or ``"name:parameter=value,parameter=value"``; a value may stand in quotes.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type.
    """
    cls = plugin_class(text.partition(":")[0].strip().lower())
    return make(cls, dict(split_text(text)[1]))


def make(cls: type[Plugin], values: dict[str, Any]) -> Plugin:
    """Make a plug-in from values that may be texts or lists; each is checked against its field's type."""
    hints, known = types_of(cls), {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            check_parameter(cls.name, key)
            raise UsageError(f"{cls.name} has no parameter {key!r}; {nearest(key, known)}")
    return cls(**{key: convert(value, hints[key], f"{cls.name}: {key}") for key, value in values.items()})


def types_of(cls: type[Plugin]) -> dict[str, Any]:
    """The type of each field, with what ``Annotated`` says of it."""
    return typing.get_type_hints(cls, include_extras=True)


def files_of(cls: type[Plugin]) -> list[str]:
    """The parameters of a plug-in that name files of this machine."""
    return [name for name, hint in types_of(cls).items() if is_file(hint)]


def is_file(hint: Any) -> bool:
    """Whether a parameter of this type names a file of this machine."""
    return FilePath in options(hint)


def text_of(plugin: Plugin) -> str:
    """The shortest text that ``parse`` turns into this plug-in."""
    changed = {
        field.name: value_text(getattr(plugin, field.name))
        for field in _fields(type(plugin))
        if getattr(plugin, field.name) != field.default
    }
    return join_text(plugin.name, changed)


def _fields(cls: type[Plugin]) -> list[dataclasses.Field[Any]]:
    """The fields of a plug-in: its own first, then those that it shares with others of its kind."""
    parents = [base for base in cls.__mro__[1:] if dataclasses.is_dataclass(base)]
    shared = {field.name for base in parents for field in dataclasses.fields(base)}
    return sorted(dataclasses.fields(cls), key=lambda field: field.name in shared)  # type: ignore[arg-type]


def describe(cls: type[Plugin]) -> PluginCard:
    """Everything that can be read from a plug-in's dataclass and its parents."""
    hints, said = types_of(cls), _said(cls)
    parameters = tuple(
        Parameter(name=f.name, type=type_name(hints[f.name]), default=f.default, description=said.get(f.name, ""))
        for f in _fields(cls)
    )
    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    return PluginCard(
        name=cls.name,
        title=cls.title,
        paper=cls.paper,
        seams=cls.seams,
        claims=tuple(sorted(cls.claims)),
        summary=summary,
        parameters=parameters,
    )


def _said(cls: type) -> dict[str, str]:
    """The sentence under each field of a dataclass and its parents."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            said |= _field_docs(base)
    return said


def _field_docs(cls: type) -> dict[str, str]:
    """The sentence under each field that a dataclass declares itself."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    pairs = zip(body.body, body.body[1:], strict=False)
    return {
        node.target.id: " ".join(str(after.value.value).split())
        for node, after in pairs
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
