"""Output of `genkit plugins` and `genkit models`: cards of the library as JSON values or as text."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from genkit.attention.facts.known import facts_of_name
from genkit.checks.typed import tuple_text
from genkit.checks.values import quote
from genkit.errors import UsageError, nearest
from genkit.pipelines.known import checkpoints, pipelines
from genkit.pipelines.names import published_as
from genkit.pipelines.pipeline_facts import PipelineFacts, Published
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


def models(name: str | None = None) -> list[Row]:
    """Return the published checkpoints, one row a family; those that ``name`` may mean, with all that is known.

    Raises:
        UsageError: no family is called so.
    """
    wanted = None if name is None else published_as(name)
    if wanted == []:
        families = [one.family for one in checkpoints()]
        raise UsageError(f"no model is called {quote(name)}; {nearest(str(name), families)}")
    rows = [
        {field: getattr(one, field) for field in MODEL_FIELDS} | _facts_row(_first_with(one), one)
        for one in checkpoints()
        if wanted is None or one in wanted
    ]
    return [row | {"words": vocabulary()} if row["family"] == "tiny" else row for row in rows]


def _first_with(published: Published) -> PipelineFacts:
    """Return the first pipelines that run a checkpoint; others may take further inputs."""
    return next(facts for facts in pipelines() if any(one is published for one in facts.published))


def _facts_row(facts: PipelineFacts, published: Published) -> Row:
    """Return what is known of the class of a model, and of the pipelines that run it."""
    model = facts_of_name(facts.models[0])
    assert model is not None, facts.models
    return {
        "lengths": published.lengths.rule,
        "weights": {hub_id: _weights(published, hub_id) for hub_id in published.hub_ids},
        "defaults": dict(published.defaults),
        "model": facts.models[0],
        "positions": model.positions.making,
        "attention": [*model.layers],
        "without_rules": dict(model.excluded),
        "one_noise_level": model.one_level,
        "guidance": facts.branches,
    }


def _weights(published: Published, hub_id: str) -> str:
    """Return what the denoising models of a checkpoint take; text encoders and the autoencoder come on top."""
    gib = published.weights(hub_id)
    if gib is None:
        return "not known"
    return f"{published.parameters[hub_id]:g} billion parameters, {gib:.1f} GiB in bfloat16 without the text encoder"


def model_lines(rows: Iterable[Row]) -> str:
    """Format one line for each family: short name, title, training clips, and where the weights are."""
    lines = [
        f"{row['family']:18} {row['title']:24.24} {row['native_frames']:4} frames at {row['fps']:g} fps  "
        f"{', '.join(row['hub_ids'])}"
        for row in rows
    ]
    return visible_lines("\n".join([*lines, "", "`genkit models NAME` says what is known of one."]))


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
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
