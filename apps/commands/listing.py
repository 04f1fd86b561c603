"""Output of `genkit plugins` and `genkit models`: cards of the library as JSON values or as text."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from genkit.attention.facts.cards import CARDS
from genkit.checks.typed import tuple_text
from genkit.plugins import catalogue
from genkit.record.visible import visible_lines
from genkit.tiny.world import vocabulary

Row = dict[str, Any]
MODEL_FIELDS = ("family", "title", "pipeline", "hub_ids", "native_frames", "fps")


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
        {name: getattr(card, name) for name in MODEL_FIELDS}
        | {"positions": card.positions.making, "attention": [*card.layers]}
        for card in CARDS
    ]
    return [row | {"words": vocabulary()} if row["family"] == "tiny" else row for row in rows]


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
