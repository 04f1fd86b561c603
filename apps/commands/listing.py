"""Output of `genkit plugins` and `genkit models`: cards of the library as JSON values or as text."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from genkit.attention.facts.known import facts_of_name
from genkit.checks.typed import tuple_text
from genkit.pipelines.known import pipelines
from genkit.plugins import catalogue
from genkit.record.visible import visible_lines
from genkit.tiny.world import vocabulary

Row = dict[str, Any]
MODEL_FIELDS = ("family", "title", "hub_ids", "licence", "native_frames", "fps")


def plugins() -> list[Row]:
    """Return every known plug-in, by name; a parameter without a default has the default null."""
    cards = (catalogue.describe(catalogue.plugin_class(name)) for name in catalogue.names())
    rows = [dataclasses.asdict(card) for card in cards]
    for entry in (entry for row in rows for entry in row["parameters"]):
        entry["required"] = entry["default"] is dataclasses.MISSING
        entry["default"] = None if entry["required"] else entry["default"]
    return rows


def models() -> list[Row]:
    """Return every model family that plug-ins support; the embedded model also lists its vocabulary."""
    rows = [
        {name: getattr(one, name) for name in MODEL_FIELDS} | _model_row(facts.models[0])
        for facts in pipelines()
        for one in facts.published
    ]
    return [row | {"words": vocabulary()} if row["family"] == "tiny" else row for row in rows]


def _model_row(name: str) -> Row:
    """Return what is known of the class of a model."""
    facts = facts_of_name(name)
    assert facts is not None, name
    return {"model": name, "positions": facts.positions.making, "attention": [*facts.layers]}


def format_rows(rows: Iterable[Row], as_json: bool) -> str:
    """Format rows as one JSON array, or as one paragraph each."""
    if as_json:
        return json.dumps(list(rows), indent=2, default=str)
    return visible_lines("\n\n".join(_paragraph(row) for row in rows))


def _paragraph(row: Row) -> str:
    """Format a row: name and title as a heading, values and parameters below."""
    (_, head), *rest = row.items()
    lines = [f"{head} - {row['title']}"]
    lines += [
        f"  {key.replace('_', ' ')}: {_value(value)}" for key, value in rest if key not in ("title", "parameters")
    ]
    for entry in row.get("parameters", ()):
        default = "" if entry["required"] else f" = {_default(entry['default'])}"
        lines += [f"    {entry['name']}: {entry['type']}{default}", f"      {entry['description']}"]
    return "\n".join(lines)


def _default(value: Any) -> str:
    return tuple_text(value) if isinstance(value, tuple) else repr(value)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
