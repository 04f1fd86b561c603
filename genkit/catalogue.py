"""The plug-ins by name, and what can be told about each from its dataclass."""

import ast
import dataclasses
import inspect
import re
import types
import typing
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from genkit.errors import UsageError, nearest
from genkit.plugin import Plugin

PLUGINS = {
    "freelong": "genkit.plugins.freelong:FreeLong",
    "freenoise": "genkit.plugins.freenoise:FreeNoise",
    "radial": "genkit.plugins.radial:Radial",
    "timeline": "genkit.plugins.timeline:Timeline",
}


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
    """The dataclass of a plug-in.

    Raises:
        UsageError: no such plug-in; the nearest name is given.
    """
    known = _known()
    if name not in known:
        raise UsageError(f"there is no plug-in called {name!r}; {nearest(name, known)}")
    module, _, attribute = known[name].partition(":")
    found: type[Plugin] = getattr(import_module(module), attribute)
    return found


_PART = re.compile(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""")  # commas inside quotes do not separate


def parse(text: str) -> Plugin:
    """Make a plug-in from ``"name"`` or ``"name:parameter=value,parameter=value"``; a value may stand in quotes.

    Raises:
        UsageError: an unknown name or parameter, or a value of the wrong type.
    """
    name, _, rest = text.partition(":")
    cls = plugin_class(name.strip().lower())
    values = dict(_assignment(part, name) for part in _PART.findall(rest) if part.strip())
    return make(cls, values)


def _assignment(part: str, name: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals:
        raise UsageError(f"{name}: {part.strip()!r} is no parameter; write name=value")
    return key.strip().replace("-", "_"), value.strip()


def make(cls: type[Plugin], values: dict[str, Any]) -> Plugin:
    """Make a plug-in from values that may be texts; each is checked against its field's type."""
    hints, fields = typing.get_type_hints(cls), {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UsageError(f"{cls.name} has no parameter {key!r}; {nearest(key, fields)}")
    return cls(**{key: _converted(value, hints[key], f"{cls.name}: {key}") for key, value in values.items()})


def _converted(value: Any, hint: Any, what: str) -> Any:
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    read = _literal(value) if isinstance(value, str) else value
    for choice in choices:
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
    raise UsageError(f"{what}={value!r} is not of type {type_name(hint)}")


def _literal(text: str) -> Any:
    named = {"none": None, "true": True, "false": False}
    if text.lower() in named:
        return named[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def type_name(hint: Any) -> str:
    """A type as users read it: ``int or None``, ``'a' or 'b'``."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def text_of(plugin: Plugin) -> str:
    """The shortest text that ``parse`` turns into this plug-in."""
    changed = [
        f"{field.name}={_value_text(getattr(plugin, field.name))}"
        for field in dataclasses.fields(plugin)  # type: ignore[arg-type]
        if getattr(plugin, field.name) != field.default
    ]
    return f"{plugin.name}:{','.join(changed)}" if changed else plugin.name


def _value_text(value: Any) -> str:
    """A value as ``parse`` reads it; texts with a comma or a quote are quoted."""
    return repr(value) if isinstance(value, str) and set(value) & set(",'\"") else str(value)


def describe(cls: type[Plugin]) -> PluginCard:
    """Everything that can be read from a plug-in's dataclass."""
    hints, said = typing.get_type_hints(cls), _field_docs(cls)
    parameters = tuple(
        Parameter(name=f.name, type=type_name(hints[f.name]), default=f.default, description=said.get(f.name, ""))
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
    )
    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    return PluginCard(
        name=cls.name, title=cls.title, paper=cls.paper, seams=cls.seams, summary=summary, parameters=parameters
    )


def _field_docs(cls: type) -> dict[str, str]:
    """The sentence under each field of a dataclass."""
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
