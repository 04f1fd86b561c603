"""Inputs as arguments of a pipeline's call: brought to size, and in the pipeline's form."""

from collections.abc import Mapping
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.facts.inputs import Input
from genkit.checks.arguments import arguments_of, default_of
from genkit.checks.latents import size_of
from genkit.errors import UsageError
from genkit.inputs.fitting import fit, nearest_size, sentence
from genkit.inputs.given import Given
from genkit.inputs.length import Clips
from genkit.inputs.masks import black_and_white, note_grey
from genkit.inputs.values import check_resize
from genkit.inputs.words import Resize


def as_arguments(
    pipe: Any, card: Card, given: Given, clips: Clips, arguments: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Return the arguments of the call that the inputs become.

    Args:
        pipe, card: the pipeline, and what it takes.
        given: the inputs.
        clips: their frames, cut to length.
        arguments: the other arguments of the call.
        notes: sentences on each change are added here.

    Raises:
        UsageError: a strength has nothing to act on.
    """
    made = {name: value for name, value in arguments.items() if isinstance(value, list)}
    found: dict[str, Any] = {}
    seen = {**size_of(pipe, card, dict(arguments)), **arguments}
    if given.strength is not None:
        seen["strength"] = given.strength
        known = card.takes["strength"]
        if not clips and _is_shared(card, known):
            raise UsageError(f"strength={given.strength:g} has nothing to act on; give an image or a video with it")
        if not _is_shared(card, known):
            found[known.argument] = given.strength
    for name, frames in clips.items():
        known = card.takes[name]
        value = known.convert(_in_form(known, _sized(pipe, card, name, frames, given, arguments, notes)), seen)
        before = found.get(known.argument, made.get(known.argument))
        found[known.argument] = value if before is None else [*before, *value]
    return found


def steps_left(pipe: Any, arguments: Mapping[str, Any], steps: Any) -> int | None:
    """Return the steps of a call that begins in the middle of the schedule, by its strength; None runs all of them.

    Raises:
        UsageError: the strength leaves none.
    """
    value = arguments.get("strength", default_of(pipe, "strength"))
    if not (isinstance(value, int | float) and isinstance(steps, int) and hasattr(pipe, "get_timesteps")):
        return None
    left = int(steps * value)
    if left < 1:
        raise UsageError(
            f"strength={value:g} of {steps} steps leaves none; give strength={1 / steps:.2g} or more, or more steps"
        )
    return left


def _is_shared(card: Card, known: Input) -> bool:
    return any(other.argument == known.argument for other in card.takes.values() if other.form != "number")


def _in_form(known: Input, frames: list[Any]) -> Any:
    if known.form in ("image", "audio"):
        return frames[0]
    return black_and_white(frames) if known.form == "mask" else frames


def _sized(
    pipe: Any,
    card: Card,
    name: str,
    frames: list[Any],
    given: Given,
    arguments: Mapping[str, Any],
    notes: list[str],
) -> list[Any]:
    """Return frames in the size that the call needs, with a note on what that changed."""
    known, how = card.takes[name], check_resize(given.resize)
    if known.form == "audio":
        return frames
    if known.form == "mask":
        note_grey(name, frames, notes.append)
    size = _size_for(pipe, card, known, frames[0], arguments)
    if size is None:
        notes.append(f"{name} was given to the pipeline in its own size, {frames[0].height}x{frames[0].width}")
        return frames
    height, width = size
    said = sentence(name, frames[0], height, width, how)
    if said is not None:
        notes.append(said + _advice(pipe, card, known, frames[0], size, how, arguments))
    return [fit(frame, height, width, how) for frame in frames]


def _size_for(pipe: Any, card: Card, known: Input, image: Any, arguments: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width that an input is brought to; None leaves it to the pipeline."""
    if known.size is not None:
        return known.size(pipe)
    if not known.fitted:
        return None
    size = size_of(pipe, card, dict(arguments))
    if {"height", "width"} <= arguments_of(pipe):
        return (size["height"], size["width"]) if {"height", "width"} <= size.keys() else None
    if known.form == "image":
        return None
    down, right = card.size_steps(pipe)
    return max(1, image.height // down) * down, max(1, image.width // right) * right


def _advice(
    pipe: Any,
    card: Card,
    known: Input,
    image: Any,
    size: tuple[int, int],
    how: Resize,
    arguments: Mapping[str, Any],
) -> str:
    """Return the size that would keep the shape of an image, if the user gave none."""
    if known.size is not None or image.width * size[0] == image.height * size[1]:
        return ""
    if {"height", "width"} & arguments.keys() or not {"height", "width"} <= arguments_of(pipe):
        return ""
    height, width = nearest_size(image, size[0] * size[1], card.size_steps(pipe))
    return "" if (height, width) == size else f"; height={height}, width={width} would keep its shape"
