"""From what the user asks to the arguments of one pipeline's call, checked before anything runs."""

import inspect
from typing import Any

from genkit.attention.model_card import ModelCard
from genkit.errors import UsageError, nearest
from genkit.schedulers import seeds


def call_arguments(pipe: Any, card: ModelCard, asked: dict[str, Any], *, longest: int | None = None) -> dict[str, Any]:
    """The keyword arguments for ``pipe(...)``: the card's defaults under what was asked; None means the default.

    Raises:
        UsageError: an argument that this pipeline does not accept, a length that it cannot make, an empty prompt.
    """
    accepted = set(inspect.signature(type(pipe).__call__).parameters) - {"self"}
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if name not in accepted:
            raise UsageError(f"{type(pipe).__name__} has no argument {name!r}; {nearest(name, accepted)}")
    defaults = {name: value for name, value in card.defaults.items() if name in accepted}
    arguments = defaults | given
    check_prompt(arguments.get("prompt"))
    check_frames(pipe, card, arguments, longest)
    check_numbers(arguments)
    return arguments


def check_prompt(prompt: Any) -> None:
    """A prompt must say something."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise UsageError(f"the prompt is {prompt!r}; say in words what the video shows")


def check_length_of_text(pipe: Any, texts: list[str], limit: int | None) -> None:
    """Refuse texts that the pipeline would cut off; ``limit`` is in tokens, None is the tokenizer's own."""
    tokenizer = pipe.tokenizer
    limit = limit or min(int(getattr(tokenizer, "model_max_length", 10**9)), 10**9)
    for text in texts:
        count = len(tokenizer(text).input_ids)
        if count > limit:
            raise UsageError(
                f"the prompt has {count} tokens and this model reads {limit}; shorten it, or split it over time with "
                "the timeline plug-in"
            )


def check_frames(pipe: Any, card: ModelCard, arguments: dict[str, Any], longest: int | None) -> None:
    """Refuse a length that the family cannot make, with the nearest that it can."""
    frames = arguments.get("num_frames")
    if frames is None:
        return
    stride = card.frame_step(pipe)
    if not isinstance(frames, int) or frames < 1 or (frames - 1) % stride:
        rule = "whole numbers from 1" if stride == 1 else f"{stride}k + 1 frames"
        near = max(1, round((float(frames) - 1) / stride) * stride + 1)
        raise UsageError(f"num_frames={frames}: {card.title} makes {rule}; the nearest is {near}")
    if longest is not None and frames > longest:
        further = ", and freenoise goes further" if card.rope == "absolute" else ""
        raise UsageError(
            f"num_frames={frames}: the positions of this {card.title} model end at {longest} frames; "
            f"the nearest is {longest}{further}"
        )


def check_numbers(arguments: dict[str, Any]) -> None:
    """Refuse sizes and steps that are not positive."""
    for name in ("height", "width", "num_inference_steps"):
        value = arguments.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UsageError(f"{name}={value!r} must be a whole number of at least 1")


def check_size(pipe: Any, card: ModelCard, arguments: dict[str, Any]) -> None:
    """Refuse a height or width that the model would round, with the nearest that it can make."""
    for name, unit in zip(("height", "width"), card.size_steps(pipe), strict=True):
        value = arguments.get(name)
        if value is not None and value % unit:
            near = max(1, round(value / unit)) * unit
            raise UsageError(f"{name}={value}: {card.title} makes multiples of {unit}; the nearest is {near}")
    _check_largest(pipe, card, arguments)


def _check_largest(pipe: Any, card: ModelCard, arguments: dict[str, Any]) -> None:
    if card.largest is None:
        return
    for name, what, most in zip(("height", "width"), ("rows", "columns"), card.largest(pipe), strict=True):
        value = arguments.get(name)
        if value is not None and value > most:
            raise UsageError(
                f"{name}={value}: the positions of this {card.title} model end at {most} {what} of pixels; the largest "
                f"is {most}"
            )


def drawn_seed(seed: Any) -> int:
    """Return the seed as an int, or a fresh one for None and -1.

    Raises:
        UsageError: not a whole number from -1 to 2**64 - 1.
    """
    try:
        return seeds.drawn_seed(seed)
    except ValueError as error:
        raise UsageError(str(error)) from None
