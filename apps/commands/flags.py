"""Flags of `genkit generate`, generated from the fields of `Request` so that the two cannot diverge."""

import inspect
import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic.fields import FieldInfo

from genkit.errors import UsageError
from genkit.inputs.words import MEDIA, WORDS
from genkit.request import FILES, Request

NAMES = {"plugins": ("--with",), "num_inference_steps": ("--num-inference-steps", "--steps")}
"""Fields whose flags differ from their names."""
SHORT = {"with": "plugins", "steps": "num_inference_steps"}
"""Short names for `--set`."""
TYPES = {
    "prompt": str,
    "plugins": list[str] | None,
    **dict.fromkeys(MEDIA, str | None),
    "reference": list[str] | None,
    **dict.fromkeys(FILES, list[str] | None),
}
"""Fields whose type on the command line is narrower than in the schema."""
INPUTS = (*WORDS, "resize")
"""Fields that are images, videos and numbers besides the prompt."""
Settings = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        help="KEY=VALUE: any field of the request, or another argument of the pipeline's call; repeatable.",
    ),
]


def with_request_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Turn ``command(request, settings=..., ...)`` into a command with a flag for every field of `Request`.

    Only given flags are set in the request, so that ``model_fields_set`` separates choices from defaults.
    """
    own = [entry for entry in inspect.signature(command).parameters.values() if entry.name != "request"]
    fields = [_flag(name, field) for name, field in Request.model_fields.items() if name != "options"]
    signature = inspect.Signature([*fields, *own], return_annotation=int)

    def from_flags(*words: Any, **flags: Any) -> int:
        given = signature.bind(*words, **flags).arguments
        rest = {entry.name: given.pop(entry.name) for entry in own if entry.name in given}
        return command(request_from(given, rest.get("settings") or ()), **rest)

    return _named_like(command, from_flags, signature)


def with_input_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Turn ``command(..., inputs=...)`` into a command with a flag for every image, video and number that a pipeline
    takes besides the prompt."""
    own = [entry for entry in inspect.signature(command).parameters.values() if entry.name != "inputs"]
    fields = [_flag(name, Request.model_fields[name]) for name in INPUTS]
    signature = inspect.Signature([*own, *fields], return_annotation=int)

    def from_flags(*words: Any, **flags: Any) -> int:
        given = signature.bind(*words, **flags).arguments
        inputs = {name: given.pop(name) for name in INPUTS if given.get(name) is not None}
        first = [given.pop(entry.name) for entry in own if entry.kind is entry.POSITIONAL_ONLY]
        return command(*first, **{name: value for name, value in given.items() if name not in INPUTS}, inputs=inputs)

    return _named_like(command, from_flags, signature)


def _named_like(command: Callable[..., int], made: Any, signature: inspect.Signature) -> Callable[..., int]:
    made.__name__, made.__doc__ = command.__name__, command.__doc__
    made.__signature__ = signature
    made.__annotations__ = {entry.name: entry.annotation for entry in signature.parameters.values()}
    return made  # type: ignore[no-any-return]


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    default = field.default
    about = Parameter(
        name=NAMES.get(name),
        help=field.description,
        show_default=False if default in (None, ()) or field.is_required() else (lambda _: default),
    )
    hint = TYPES.get(name, field.annotation if field.default is None else field.annotation | None)  # type: ignore[operator]
    if field.is_required():
        return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[hint, about])
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[hint, about])


def request_from(values: dict[str, Any], settings: Iterable[str] = ()) -> Request:
    """Return a request with ``values``, overridden by every ``"key=value"`` of ``settings``.

    A key that is not a field of `Request` becomes an argument of the pipeline's call. ``null`` selects the model's
    default, and a seed of -1 draws a new one.

    Raises:
        UsageError: a setting without ``=``, an unknown field in ``values``, or a value of the wrong type.
    """
    merged, options = dict(values), dict[str, Any]()
    for text in settings:
        key, value = _setting(text)
        (merged if key in Request.model_fields else options)[key] = value
    if options:
        merged["options"] = (merged.get("options") or {}) | options
    if str(merged.get("seed")) == "-1":
        merged["seed"] = None
    return Request.model_validate(merged)


def call_arguments(settings: Iterable[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` settings as arguments of a pipeline's call: JSON where it is some, else text."""
    return {key: _json_or_text(value) if isinstance(value, str) else value for key, value in map(_setting, settings)}


def fields_of(settings: Iterable[str]) -> set[str]:
    """Return the fields of `Request` that ``settings`` set."""
    return {key for key, _ in map(_setting, settings)}


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip().replace("-", "_")
    if not equals or not key:
        raise UsageError(f"--set {text!r} is not a setting; write KEY=VALUE, as in --set seed=8")
    key = SHORT.get(key, key)
    if value == "null":
        return key, {"plugins": (), "options": {}}.get(key)
    if key in ("plugins", *FILES) and not value.startswith("["):
        return key, (value,)
    structured = key not in Request.model_fields or value.startswith(("[", "{"))
    return key, _json_or_text(value) if structured else value


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
