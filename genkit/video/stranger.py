"""Limits on what a recipe in an untrusted file may decide when a video is made again.

Anybody can write a recipe. A prompt, sizes and plug-ins are harmless; a model runs code from a folder or a hub, a
device, a backend and pipeline options belong to a machine, and a path opens a file on it.
"""

import json
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from genkit.checks.values import quote
from genkit.errors import UsageError
from genkit.inputs.record import DIGEST, FILE, flag_of
from genkit.inputs.words import MEDIA
from genkit.pipelines.known import checkpoints
from genkit.plugins import catalogue
from genkit.plugins.text import join_text, split_text

OWN = ("device", "offload", "attention_backend", "base", "weights", "lora", "compile", "options")
"""Fields that are never taken from a file: they belong to this machine."""
LIMITS = {"num_frames": 10_000, "height": 8192, "width": 8192, "num_inference_steps": 1000}
"""Max values that a file may request."""
PIXELS = 2**33
"""Max pixels of all frames together: 1000 frames of 3840x2160."""
LETTERS = 100_000
"""Max length of a prompt or any other field of a file, as JSON."""


def from_stranger(request: Mapping[str, Any], said: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what may be taken from the request in a file, and a sentence for each thing that was ignored.

    Args:
        request: in JSON values, as :func:`genkit.video.video.read_request` returns it.
        said: the fields that the user sets; those of the file are ignored.

    Raises:
        UsageError: the model is not a published checkpoint, or a size exceeds the limits, and the user did not set it.
    """
    asked = {name: value for name, value in request.items() if name not in said}
    _check_model(asked.get("model", "tiny"))
    _check_amounts(asked)
    left = [name for name in OWN if asked.get(name)]
    notes = [sentence for name in left for sentence in _ignored_notes(name, asked[name])]
    kept = {name: value for name, value in asked.items() if name not in OWN}
    for name in MEDIA:
        _check_files(name, kept.get(name))
    if isinstance(texts := kept.get("plugins"), list):
        plugins = [_without_files(text) for text in texts]
        kept["plugins"] = [text for text, _ in plugins]
        notes += [note for _, found in plugins for note in found]
    return kept, notes


def _check_model(model: Any) -> None:
    known = [name for one in checkpoints() for name in one.hub_ids]
    if model not in known or (model != "tiny" and Path(model).exists()):
        raise UsageError(
            f"this video was made with the model {model!r}, but a file may only open 'tiny' and the models that "
            "`genkit models` lists, and none from a local folder; if you trust it, set it yourself: "
            f"--model {shlex.quote(str(model))}"
        )


def _check_files(name: str, value: Any) -> None:
    """Refuse an image or a video that is not of this machine, or whose content the file does not name: a path of a
    network would be opened with the user's own account there."""
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        record = one if isinstance(one, Mapping) else {}
        path = str(record.get(FILE, ""))
        if path.startswith(("//", "\\\\")) or not isinstance(record.get(DIGEST), str):
            raise UsageError(
                f"{name}={quote(one)} is not a file of this machine with a SHA-256, so it is not taken from a file; "
                f"if you want it, set it yourself: {flag_of(name)} FILE"
            )


def _check_amounts(asked: Mapping[str, Any]) -> None:
    numbers = {name: value for name in LIMITS if (value := _number(asked.get(name))) is not None}
    for name, value in numbers.items():
        if not value <= LIMITS[name]:
            raise _too_much(name, value, LIMITS[name])
    pixels = numbers.get("num_frames", 1) * numbers.get("height", 1) * numbers.get("width", 1)
    if pixels > PIXELS:
        raise _too_much("num_frames", numbers.get("num_frames", 1), int(PIXELS / pixels * numbers.get("num_frames", 1)))
    for name, value in asked.items():
        if name not in OWN and (letters := len(json.dumps(value))) > LETTERS:
            raise UsageError(f"{name} in this file has {letters} characters; a file may have at most {LETTERS}")


def _number(value: Any) -> float | None:
    """Number that a request will accept: a text may be one, too."""
    try:
        return value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        return None


def _too_much(name: str, value: float, limit: int) -> UsageError:
    return UsageError(
        f"this file asks for {name}={value}, more than a file may request ({limit}); if you mean it, set it yourself: "
        f"--set {name}={value}"
    )


def _ignored_notes(name: str, value: Any) -> list[str]:
    values = value if name == "options" and isinstance(value, dict) else {name: value}
    return [_not_taken(key, shlex.quote(f"{key}={_format(what)}")) for key, what in values.items()]


def _not_taken(what: str, setting: str) -> str:
    return f"{what} is not taken from a file; if you want it, set it yourself: --set {setting}"


def _format(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_files(text: Any) -> tuple[Any, list[str]]:
    """Text of a plug-in without parameters that name local files, and notes on what was ignored."""
    if not isinstance(text, str):
        return text, []
    name, values = split_text(text)
    files = [key for key in catalogue.files_of(catalogue.plugin_class(name)) if key in values]
    kept = {key: value for key, value in values.items() if key not in files}
    notes = [_not_taken(f"{name}: {key}={values[key]}", shlex.quote(f"plugins={text}")) for key in files]
    return (join_text(name, kept) if files else text), notes
