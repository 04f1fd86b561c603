"""Length of a video in pixel frames: checked before the run, and as the number that the pipeline takes for it."""

from collections.abc import Callable
from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.facts.made import as_asked, floored, frames_of_video, rounded
from genkit.attention.facts.volume import configured
from genkit.checks.arguments import TABLE, default_of
from genkit.checks.values import quote
from genkit.errors import UsageError

LENGTH = "num_frames"
"""Word for the length, which becomes the pipeline's own argument when it is called."""
BEYOND = 400
"""Frames beyond the length that was asked for among which one that a pipeline makes is looked for."""


def default_length(pipe: Any, card: Card) -> int | None:
    """Return the number that a call takes for its length if none is given; None if it is known only in the call."""
    if card.length_argument is None:
        return None
    kept = (configured(card.model(pipe), name) for name in ("sample_frames", "num_frames"))
    found: int | None = default_of(pipe, card.length_argument) or next((length for length in kept if length), None)
    return found


def with_length(pipe: Any, card: Card, arguments: dict[str, Any], asked: int | None) -> dict[str, Any]:
    """Return the arguments of a call with ``num_frames``, the number that makes a video of ``asked`` pixel frames.

    Raises:
        UsageError: the pipeline makes no such length, or takes its length from a video.
    """
    if asked is None:
        return arguments
    if card.length_argument is None:
        raise UsageError(f"num_frames={quote(asked)}: {_from_elsewhere(pipe, card)}")
    return arguments | {LENGTH: _number_for(pipe, card, arguments, asked)}


def own_length(card: Card, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that were asked for, with the pipeline's own word for the length replaced by ours.

    Raises:
        UsageError: both were given.
    """
    own = card.length_argument
    if own in (None, LENGTH) or own not in asked:
        return asked
    if LENGTH in asked:
        raise UsageError(f"num_frames={quote(asked[LENGTH])} and {own}={quote(asked[own])} are one argument; give one")
    return {LENGTH if name == own else name: value for name, value in asked.items()}


def as_call(card: Card, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call under the pipeline's own names."""
    return {(card.length_argument or name) if name == LENGTH else name: value for name, value in arguments.items()}


def made_of(pipe: Any, card: Card, arguments: dict[str, Any]) -> int | None:
    """Return the pixel frames that a call makes, with all its inputs; None if that is known only in the call."""
    video = arguments.get(card.length_from) if card.length_from else None
    number = arguments.get(LENGTH) or default_length(pipe, card)
    if video is not None:
        number = frames_of_video(video)
    return None if number is None else card.made(pipe, arguments, number)


def check_frames(
    pipe: Any, card: Card, arguments: dict[str, Any], longest: int | None, window: int | None = None
) -> None:
    """Refuse a length for which the model has no positions.

    ``window``: pixel frames that the model sees at once; None is all.
    """
    frames = arguments.get(LENGTH)
    if frames is None:
        return
    table = configured(card.model(pipe), TABLE)
    if table is not None:
        longest = min((table - 1) * card.stride(pipe) + 1, longest or frames)
    if longest is not None and min(frames, window or frames) > longest:
        further = ", and freenoise and position-interpolation go further" if card.positions.absolute else ""
        raise UsageError(
            f"num_frames={quote(frames)}: the positions of {card.this} end at {longest} frames; "
            f"the nearest is {longest}{further}"
        )


def _from_elsewhere(pipe: Any, card: Card) -> str:
    if card.length_from is None:
        return f"{type(pipe).__name__} has no argument for its length; leave num_frames out"
    return f"{type(pipe).__name__} makes as many frames as {card.length_from} has; cut that, or leave num_frames out"


def _number_for(pipe: Any, card: Card, arguments: dict[str, Any], asked: int) -> int:
    """Return the number that makes ``asked`` frames, the nearest to it of several."""
    if not card.length_is_made or card.made_frames in (floored, rounded, as_asked):
        check_step(pipe, card, asked)
        return asked
    made: Callable[[int], int] = lambda number: card.made(pipe, arguments, number)  # noqa: E731
    by_length: dict[int, int] = {}
    for number in sorted(range(1, max(1, asked) + BEYOND), key=lambda number: abs(number - asked)):
        by_length.setdefault(made(number), number)
    if asked in by_length:
        return by_length[asked]
    below, above = (n for n in by_length if 0 < n < asked), (n for n in by_length if n > asked)
    near = [str(n) for n in (max(below, default=None), min(above, default=None)) if n is not None]
    raise UsageError(
        f"num_frames={quote(asked)}: with these arguments {card.title} makes other lengths; the nearest "
        f"{'are' if len(near) > 1 else 'is'} {' and '.join(near)}"
    )


def check_step(pipe: Any, card: Card, frames: int) -> None:
    """Refuse a length that is not ``step * k + 1``, naming the nearest one that is.

    Raises:
        UsageError: it is not.
    """
    lengths = card.lengths(pipe)
    if not lengths.allow(frames):
        near = quote(lengths.nearest(frames))
        raise UsageError(f"num_frames={quote(frames)}: {card.title} makes {lengths.rule}; the nearest is {near}")
