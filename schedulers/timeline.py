"""Prompts over time: one text or a list of events with start and end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """What is to be seen from ``start`` to ``end``."""

    prompt: str
    start: float | None = None
    """Seconds; None: where the event before it ends."""
    end: float | None = None
    """Seconds, not included; None: where the next event begins, or the end of the video."""


Events = tuple[Event, ...]


def parse_events(prompt: str | Sequence[Any]) -> Events:
    """Read ``"a | b"``, or a list of texts, ``Event`` objects, mappings or ``(start, end, text)`` tuples.

    Raises:
        ValueError: an event has no text, or its numbers do not make a span.
    """
    given = prompt.split("|") if isinstance(prompt, str) else prompt
    events = tuple(_event(item) for item in given)
    for number, event in enumerate(events, 1):
        if not event.prompt.strip():
            raise ValueError(f"event {number} of {len(events)} has no text; write something on both sides of each '|'")
    return events


def _event(item: Any) -> Event:
    if isinstance(item, Event):
        return item
    if isinstance(item, str):
        return Event(prompt=item.strip())
    if isinstance(item, Mapping):
        unknown = sorted(set(item) - {"prompt", "start", "end"})
        if unknown or "prompt" not in item:
            raise ValueError(f"an event takes prompt, start and end; got {', '.join(map(str, item)) or 'nothing'}")
        return Event(prompt=str(item["prompt"]).strip(), start=item.get("start"), end=item.get("end"))
    if isinstance(item, Sequence) and len(item) == 3:
        return Event(prompt=str(item[2]).strip(), start=item[0], end=item[1])
    raise ValueError(f"an event is a text, a mapping or (start, end, text); got {item!r}")


def resolve(events: Events, seconds: float) -> list[tuple[float, float]]:
    """Begin and end of each event in a video of ``seconds``; times that are not given are shared out evenly.

    Raises:
        ValueError: events overlap, are out of order, or lie beyond the video.
    """
    bounds: list[float | None] = [None] * (len(events) + 1)
    for number, event in enumerate(events):
        for place, time in ((number, event.start), (number + 1, event.end)):
            if time is not None and bounds[place] is None:
                bounds[place] = float(time)
    bounds[0] = 0.0 if bounds[0] is None else bounds[0]
    bounds[-1] = seconds if bounds[-1] is None else bounds[-1]
    filled = _filled(bounds)
    spans = [
        (filled[i] if e.start is None else float(e.start), filled[i + 1] if e.end is None else float(e.end))
        for i, e in enumerate(events)
    ]
    for number, (begin, end) in enumerate(spans, 1):
        if not 0 <= begin < end or begin >= seconds:
            raise ValueError(
                f"event {number} runs from {begin:g} s to {end:g} s; it must begin before it ends, and inside the "
                f"video's {seconds:g} s"
            )
    for number, (before, after) in enumerate(zip(spans, spans[1:], strict=False), 1):
        if after[0] < before[1] - 1e-6:
            raise ValueError(
                f"event {number} ends at {before[1]:g} s but event {number + 1} begins at {after[0]:g} s; events may "
                "not overlap"
            )
    return spans


def _filled(bounds: list[float | None]) -> list[float]:
    """Share the time between known bounds out evenly over the unknown ones."""
    known = [place for place, bound in enumerate(bounds) if bound is not None]
    filled = [0.0 if bound is None else bound for bound in bounds]
    for left, right in zip(known, known[1:], strict=False):
        for place in range(left + 1, right):
            filled[place] = filled[left] + (filled[right] - filled[left]) * (place - left) / (right - left)
    return filled
