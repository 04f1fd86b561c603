"""The plug-ins by name, and what their dataclasses say about them."""

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
"""Members that the class of every plug-in has, see ``contract.Plugin``."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One field of a plug-in."""

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True, kw_only=True)
class PluginCard:
    """Description of a plug-in for users."""

    name: str
    title: str
    paper: str
    seams: tuple[str, ...]
    claims: tuple[str, ...]
    summary: str
    parameters: tuple[Parameter, ...]


def names() -> list[str]:
    """Return the names of all known plug-ins, sorted."""
    return sorted(_known())


def _known() -> dict[str, str]:
    """Return built-in plug-ins and those of other packages (entry-point group ``genkit.plugins``)."""
    found = {entry.name: entry.value for entry in entry_points(group="genkit.plugins")}
    if clash := sorted(found.keys() & PLUGINS.keys()):
        raise UsageError(f"installed plug-ins may not replace built-in ones: {', '.join(clash)}; rename them")
    return PLUGINS | found


def plugin_class(name: str) -> type[Plugin]:
    """Return the dataclass of a plug-in.

    Raises:
        UsageError: there is no such plug-in (the message gives the nearest name), or its class lacks a member.
    """
    known = PLUGINS if name in PLUGINS else _known()  # searching other packages takes a while
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
    """Make a plug-in from ``"name"`` or ``"name:parameter=value,parameter=value"``; values may be quoted.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type.
    """
    cls = plugin_class(text.partition(":")[0].strip().lower())
    return make(cls, dict(split_text(text)[1]))


def make(cls: type[Plugin], values: dict[str, Any]) -> Plugin:
    """Make a plug-in from values, also texts and lists; each is converted to the type of its field."""
    hints, known = types_of(cls), {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            check_parameter(cls.name, key)
            raise UsageError(f"{cls.name} has no parameter {key!r}; {nearest(key, known)}")
    return cls(**{key: convert(value, hints[key], f"{cls.name}: {key}") for key, value in values.items()})


def types_of(cls: type[Plugin]) -> dict[str, Any]:
    """Return the type of each field, including ``Annotated`` metadata."""
    return typing.get_type_hints(cls, include_extras=True)


def files_of(cls: type[Plugin]) -> list[str]:
    """Return the parameters of a plug-in that are paths to local files."""
    return [name for name, hint in types_of(cls).items() if is_file(hint)]


def is_file(hint: Any) -> bool:
    """Return True if a parameter of this type is a path to a local file."""
    return FilePath in options(hint)


def text_of(plugin: Plugin) -> str:
    """Return the shortest text that ``parse`` turns into this plug-in."""
    changed = {
        field.name: value_text(getattr(plugin, field.name))
        for field in _fields(type(plugin))
        if getattr(plugin, field.name) != field.default
    }
    return join_text(plugin.name, changed)


def _fields(cls: type[Plugin]) -> list[dataclasses.Field[Any]]:
    """Return the fields of a plug-in: its own, then those of its parent classes, nearest first."""
    bases = [base for base in cls.__mro__ if dataclasses.is_dataclass(base)]
    depth = {field.name: number for number, base in enumerate(bases) for field in dataclasses.fields(base)}
    return sorted(dataclasses.fields(cls), key=lambda field: depth[field.name])  # type: ignore[arg-type]


def describe(cls: type[Plugin]) -> PluginCard:
    """Return the description of a plug-in, read from its dataclass and its parents."""
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
    """Return the docstrings of all fields of a dataclass and its parents."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            said |= _field_docs(base)
    return said


def _field_docs(cls: type) -> dict[str, str]:
    """Return the docstrings of the fields that a dataclass itself declares."""
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
