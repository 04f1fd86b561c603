"""Conversion of the form to a request, with a sentence for each invalid field, and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genkit.apps.jobs import models
from genkit.apps.page import plugin_fields
from genkit.apps.page.inputs import FIELDS, read_input, read_resize
from genkit.checks.arguments import check_prompt, draw_seed
from genkit.errors import UsageError
from genkit.inputs.words import MEDIA
from genkit.plugins import catalogue
from genkit.plugins.contract import Plugin
from genkit.plugins.prompts.timeline import Timeline
from genkit.request import OPENING, Request, RequestError
from genkit.schedulers.seeds import LARGEST
from genkit.schedulers.timeline import parse_events, resolve

PROMPT = "a large red circle moves right on a navy background"
"""Initial prompt, in words that the embedded model knows."""
LONGEST_TEXT = 4000
"""Max characters of a prompt."""
NUMBERS = {
    "num_inference_steps": (1, 200),
    "guidance_scale": (0, 50),
    "height": (16, 2048),
    "width": (16, 2048),
    "fps": (1, 120),
}
"""Further numbers of a request that the page accepts, with the min and max of each."""
OPERATORS = (*(name for name in OPENING if name != "model"), "options")
"""Fields of a request that the page does not set: they belong to this machine."""

Values = Mapping[str, Any]
"""Values of the form by key: a field of `Request`, ``seed`` as text, the name of a plug-in for its tick box, and
``plugin.parameter``."""


@dataclass
class Checked:
    """Result of checking a filled-in form."""

    request: Request | None = None
    """The request; None if something is wrong."""
    wrong: dict[str, str] = field(default_factory=dict)
    """Reason it cannot be used, by field or plug-in."""
    hints: dict[str, str] = field(default_factory=dict)
    """Explanation of the value, by field."""


def check(values: Values) -> Checked:
    """Check every field; nothing is raised, and all errors are reported together."""
    found, made = Checked(), {}
    plugins = _plugins(values, found)
    for key, read in READERS.items():
        if key in ("num_frames", "resize", *FIELDS) and "model" in found.wrong:
            continue  # legal lengths and inputs depend on it
        try:
            made[key] = read(values, key)
        except UsageError as error:
            found.wrong[key] = str(error)
    seconds = None if found.wrong.keys() & {"model", "num_frames", "fps"} else _length_in_seconds(values, made, found)
    try:
        made["prompt"] = _prompt(values, plugins, seconds, found)
    except UsageError as error:
        found.wrong["prompt"] = str(error)
    if not found.wrong:
        found.request = _request(made, plugins, found)
    return found


def _request(made: dict[str, Any], plugins: list[Plugin], found: Checked) -> Request | None:
    given = {key: value for key, value in made.items() if value is not None}
    try:
        return Request(**given, plugins=tuple(map(catalogue.text_of, plugins)))
    except RequestError as error:
        found.wrong |= error.wrong
        return None


def _plugins(values: Values, found: Checked) -> list[Plugin]:
    chosen: dict[str, Plugin | type[Plugin]] = {
        name: catalogue.plugin_class(name) for name in catalogue.names() if values.get(name)
    }
    plugins = []
    for name in chosen:
        try:
            chosen[name] = made = plugin_fields.make_plugin(name, values)
            plugins.append(made)
        except UsageError as error:
            found.wrong[name] = str(error)
    for name, sentence in plugin_fields.conflicts(chosen.values()).items():
        found.wrong[name] = f"{found.wrong[name]}. {sentence}" if name in found.wrong else sentence
    return plugins


def _model(values: Values, key: str) -> str:
    model = str(values.get(key) or "tiny")
    models.card_of(model)
    return model


def _length(values: Values, key: str) -> int:
    return models.check_length(models.card_of(_model(values, "model")), values.get(key))


def _length_in_seconds(values: Values, made: dict[str, Any], found: Checked) -> float:
    card = models.card_of(made["model"])
    fps = made["fps"] or card.fps
    found.hints["num_frames"] = models.length_hint(card, made["num_frames"], fps)
    return float(made["num_frames"] / fps)


def _seed(values: Values, key: str) -> int | None:
    """Read a seed from text, because numbers in a browser are exact only up to 2**53; empty and -1 draw one."""
    text = str(values.get(key) or "").strip()
    if text in ("", "-1"):
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))):
        raise UsageError(f"{text[:40]!r} is not a seed; give a whole number from 0 up, or leave it empty to draw one")
    return draw_seed(int(text))


def _number(values: Values, key: str) -> float | None:
    value, (low, high) = plugin_fields.number(values.get(key)), NUMBERS[key]
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise UsageError(f"{key}={value!r} must be a number from {low} to {high}; leave empty for the model's own")
    if key not in ("guidance_scale", "fps") and value != int(value):
        raise UsageError(f"{key}={value!r} must be a whole number")
    return value


def _text(values: Values, key: str) -> str | None:
    text = str(values.get(key) or "").strip()
    if len(text) > LONGEST_TEXT:
        raise UsageError(f"this text has {len(text)} characters, and the page accepts {LONGEST_TEXT}; shorten it")
    return text or None


Reader = Callable[[Values, str], Any]
_OF_INPUTS: dict[str, Reader] = dict.fromkeys(FIELDS, read_input)
READERS: dict[str, Reader] = {
    "model": _model,
    "seed": _seed,
    "num_frames": _length,
    "negative_prompt": _text,
    **_OF_INPUTS,
    "resize": read_resize,
} | dict.fromkeys(NUMBERS, _number)
"""Reader of each field that does not depend on the plug-ins; None leaves it to the model."""


def _prompt(values: Values, plugins: list[Plugin], seconds: float | None, found: Checked) -> Any:
    text = _text(values, "prompt") or ""
    check_prompt(text)
    prompt = _events(text) if text.startswith("[") else text
    if not any(isinstance(plugin, Timeline) for plugin in plugins):
        if not isinstance(prompt, str):
            raise UsageError("this is a list of events; tick timeline, which reads it")
        if "|" in text and not values.get("timeline"):
            raise UsageError("'|' separates the prompts of a timeline; tick timeline, or remove '|'")
    elif seconds is not None:
        found.hints["prompt"] = ", then ".join(f"{begin:.2f} to {end:.2f} s" for begin, end in _spans(prompt, seconds))
    return prompt


def _spans(prompt: Any, seconds: float) -> list[tuple[float, float]]:
    """Start and end of each event in a video of that many seconds."""
    try:
        return list(resolve(parse_events(prompt), seconds))
    except ValueError as error:
        raise UsageError(f"timeline: {error}") from None


def _events(text: str) -> list[dict[str, Any]]:
    try:
        events = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this starts like a list of events but is not valid JSON: {error}") from error
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise UsageError('events are written as [{"prompt": "...", "start": 0, "end": 1}, ...]')
    return events


def defaults() -> dict[str, Any]:
    """Return the initial values of the form."""
    ticks = dict.fromkeys(catalogue.names(), False)
    parameters = {entry.key: entry.default for name in ticks for entry in plugin_fields.fields(name)}
    numbers: dict[str, Any] = dict.fromkeys(NUMBERS)
    first: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": "", "model": "tiny", "seed": ""}
    first |= dict.fromkeys((*FIELDS, "resize"))
    return first | {"num_frames": models.card_of("tiny").native_frames} | numbers | ticks | parameters


def settings(request: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the form's values for a request from an untrusted file, and sentences on what was omitted.

    Raises:
        UsageError: the request is invalid, or needs a plug-in or a model that the page does not have.
    """
    try:
        asked = Request.model_validate(dict(request))
    except RequestError as error:
        raise UsageError(f"the settings in this file cannot be used: {error}") from error
    models.card_of(asked.model)
    values = defaults() | {"model": asked.model, "negative_prompt": asked.negative_prompt or ""}
    values["prompt"] = asked.prompt if isinstance(asked.prompt, str) else json.dumps(asked.prompt, ensure_ascii=False)
    values["seed"] = "" if asked.seed is None else str(asked.seed)
    values["num_frames"] = asked.num_frames or models.card_of(asked.model).native_frames
    values |= {key: getattr(asked, key) for key in (*NUMBERS, "resize")}
    for text in asked.plugins:
        values |= plugin_fields.settings(text)
    left = [key for key in OPERATORS if getattr(asked, key)]
    left += [key for text in asked.plugins for key in plugin_fields.omitted_parameters(text)]
    notes = [f"ignored, because the page does not set it: {', '.join(left)}"] if left else []
    files = [key.replace("_", " ") for key in MEDIA if getattr(asked, key) is not None]
    return values, notes + ([f"choose again, because files are not filled in: {', '.join(files)}"] if files else [])
