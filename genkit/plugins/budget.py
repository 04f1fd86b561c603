"""A budget: the settings of a sparse method by layer, as a JSON file that ``genkit probe`` writes.

    {"format": "genkit attention budget", "version": 1, "method": "threshold",
     "layers": {"transformer.blocks.3.attn1": {"tau": "-inf"}}, "measured": {...}}

JSON has neither infinity nor tuples: in a setting, the texts "inf" and "-inf" are numbers, and a list is a tuple.
"""

import json
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from genkit.checks.typed import fits
from genkit.plugins.earlier import layer_today

FORMAT = "genkit attention budget"
VERSION = 1
INFINITE = {"inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Settings of a planner by layer, and the measurements behind them."""

    method: str
    """Name of the planner."""
    layers: Mapping[str, Mapping[str, Any]]
    """Fields that replace the planner's own, by component and layer: ``transformer.blocks.3.attn1``."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """Model, size, recall and error by head, for readers; JSON values that planners ignore."""

    def to_json(self) -> str:
        """Return the text of the file.

        Raises:
            ValueError: a setting contains NaN, or anything but numbers, texts, tuples and None.
        """
        layers = {
            layer: {name: _plain(value) for name, value in fields.items()} for layer, fields in self.layers.items()
        }
        head = {"format": FORMAT, "version": VERSION, "method": self.method}
        return json.dumps(head | {"layers": layers, "measured": self.measured}, indent=2, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file as a whole or not at all; missing folders are created."""
        path, text = Path(path), self.to_json()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".genkit-{secrets.token_hex(6)}.part")
        try:
            part.write_text(text, "utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path


def is_budget(path: Path) -> bool:
    """Return True if ``path`` is a budget, of this version or another."""
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def load_budget(path: str | os.PathLike[str]) -> Budget:
    """Return the budget in a file, for any method.

    Raises:
        ValueError: there is no such file, or it is not a budget of this version.
    """
    data = _data(Path(path))
    layers = data.get("layers")
    if not isinstance(layers, dict) or not all(isinstance(fields, dict) for fields in layers.values()):
        raise ValueError(
            f"the budget {str(path)!r} is damaged: 'layers' must contain the fields of each layer; probe again"
        )
    settings = {layer: {name: _value(value) for name, value in fields.items()} for layer, fields in layers.items()}
    return Budget(method=str(data.get("method")), layers=settings, measured=data.get("measured") or {})


def read_budget(path: str | os.PathLike[str], plugin: type[Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of a budget for a sparse plug-in, by component and layer; for ``SparseRule.budget``.

    Args:
        path: the file.
        plugin: the class; ``layer_fields()`` names those of its fields that a budget may set.

    Raises:
        ValueError: there is no such file, it is not a budget, it was made for another method, or it sets a field that
            the method does not have in a layer, or to a value of another type.
    """
    budget, method = load_budget(path), plugin.name
    if budget.method != method:
        raise ValueError(
            f"the budget {str(path)!r} was made for {budget.method}, not for {method}; probe {method}, or use "
            f"{budget.method}"
        )
    types, known = get_type_hints(plugin), plugin.layer_fields()
    hints = {name: types[name] for name in known}
    layers = {layer: layer_today(method, fields) for layer, fields in budget.layers.items()}
    for layer, fields in layers.items():
        for name, value in fields.items():
            if problem := _problem(name, value, hints):
                raise ValueError(f"the budget {str(path)!r} sets {name}={value!r} in {layer}, but {method} {problem}")
    return layers


def _data(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, after checking that it is a budget of this version."""
    try:
        data = json.loads(path.read_text("utf-8-sig"), parse_constant=_refuse_constant)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"cannot read the budget {str(path)!r}: {reason}; `genkit probe` writes one") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not a budget: invalid JSON ({error}); `genkit probe` writes one") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{str(path)!r} is not a budget: its format is {found!r} instead of {FORMAT!r}; `genkit probe` writes one"
        )
    if data.get("version") != VERSION:
        raise ValueError(
            f"the budget {str(path)!r} has version {data.get('version')!r} and this installation reads {VERSION}; "
            "probe again"
        )
    return dict(data)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")


def _plain(value: Any) -> Any:
    """Return a value of a planner's field in JSON values."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if value is not None and not isinstance(value, (bool, int, float, str)) or value != value:
        raise ValueError(f"a budget cannot contain {value!r}, only numbers, texts, tuples and None")
    return value


def _value(value: Any) -> Any:
    """Return the value that ``_plain`` wrote."""
    if isinstance(value, list):
        return tuple(_value(item) for item in value)
    return INFINITE.get(value, value) if isinstance(value, str) else value


def _problem(name: str, value: Any, hints: Mapping[str, Any]) -> str | None:
    """Return what is wrong with one field, as the end of a sentence, or None."""
    if name not in hints:
        return f"has no such field; it has {', '.join(sorted(hints))}"
    if not fits(value, hints[name]):
        return "takes another type there; correct it, or probe again"
    return None
