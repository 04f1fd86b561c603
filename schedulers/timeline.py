"""Prompts over time: one text or a list of events with start and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

ROUNDING = 0.05
"""Seconds by which an end may exceed the video, as rounded lengths do; it is then the video's end."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A prompt from ``start`` to ``end``."""

    prompt: str
    start: float | None = None
    """Seconds; None: the end of the previous event."""
    end: float | None = None
    """Seconds, exclusive; None: the start of the next event, or the end of the video."""


Events = tuple[Event, ...]


def parse_events(prompt: str | Sequence[Any]) -> Events:
    """Read ``"a | b"``, or a list of texts, ``Event`` objects, mappings or ``(start, end, text)`` tuples.

    Raises:
        ValueError: there is no event, an event has no text, or its times are not seconds.
    """
    if not isinstance(prompt, (str, Sequence)):
        raise ValueError(f"a prompt is a text or a list of events; got {prompt!r}")
    given = prompt.split("|") if isinstance(prompt, str) else prompt
    events = tuple(_event(item) for item in given)
    if not events:
        raise ValueError("the list of events is empty; give at least one text")
    for number, event in enumerate(events, 1):
        _check(event, number, len(events))
    return events


def _event(item: Any) -> Event:
    if isinstance(item, Event):
        return item
    if isinstance(item, str):
        return Event(prompt=item.strip())
    if isinstance(item, Mapping):
        unknown = sorted(set(map(str, item)) - {"prompt", "start", "end"})
        if unknown or "prompt" not in item:
            raise ValueError(f"an event takes prompt, start and end; got {', '.join(map(str, item)) or 'nothing'}")
        return Event(prompt=_strip(item["prompt"]), start=item.get("start"), end=item.get("end"))
    if isinstance(item, Sequence) and len(item) == 3:
        return Event(prompt=_strip(item[2]), start=item[0], end=item[1])
    raise ValueError(f"an event is a text, a mapping or (start, end, text); got {item!r}")


def _strip(text: Any) -> Any:
    return text.strip() if isinstance(text, str) else text


def _check(event: Event, number: int, count: int) -> None:
    if not isinstance(event.prompt, str):
        raise ValueError(f"event {number} of {count} has the prompt {event.prompt!r}; it must be a text")
    if not event.prompt.strip():
        raise ValueError(f"event {number} of {count} has no text; write something on both sides of each '|'")
    for name, time in (("start", event.start), ("end", event.end)):
        if time is not None and (not isinstance(time, Real) or isinstance(time, bool) or not isfinite(time)):
            raise ValueError(
                f"event {number} of {count} has {name}={time!r}; it must be a number of seconds, or left out"
            )


def resolve(events: Events, seconds: float) -> list[tuple[float, float]]:
    """Return begin and end of each event in a video of ``seconds``; missing times are spaced evenly.

    Raises:
        ValueError: events overlap, are out of order, or are outside the video.
    """
    starts, ends = _neighbours(events, seconds)
    spans: list[tuple[float, float]] = []
    while len(spans) < len(events):
        first = len(spans)
        last = next(number for number in range(first, len(events)) if ends[number] is not None)
        begin, end = starts[first], ends[last]
        assert begin is not None and end is not None
        spans += _divide(float(begin), float(end), last - first + 1)
    for number, (begin, end) in enumerate(spans, 1):
        if not (0 <= begin < end <= seconds + ROUNDING and begin < seconds):
            raise ValueError(
                f"event {number} runs from {begin:g} s to {end:g} s; it must begin before it ends, and be inside the "
                f"video's {seconds:g} s"
            )
    for number, (before, after) in enumerate(zip(spans, spans[1:], strict=False), 1):
        if after[0] < before[1] - 1e-6:
            raise ValueError(
                f"event {number} ends at {before[1]:g} s but event {number + 1} begins at {after[0]:g} s; events must "
                "not overlap"
            )
    return [(begin, min(end, seconds)) for begin, end in spans]


def _neighbours(events: Events, seconds: float) -> tuple[list[float | None], list[float | None]]:
    """Return starts and ends, with a missing one taken from the neighbour at the same border if it is given."""
    starts, ends = [event.start for event in events], [event.end for event in events]
    starts[0] = 0.0 if starts[0] is None else starts[0]
    ends[-1] = seconds if ends[-1] is None else ends[-1]
    for number in range(len(events) - 1):
        if starts[number + 1] is None:
            starts[number + 1] = ends[number]
        if ends[number] is None:
            ends[number] = starts[number + 1]
    return starts, ends


def _divide(begin: float, end: float, count: int) -> list[tuple[float, float]]:
    """Return ``count`` equal spans from ``begin`` to ``end``."""
    borders = [begin + (end - begin) * number / count for number in range(count)] + [end]
    return list(zip(borders, borders[1:], strict=False))
