"""Timeline: prompts over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from genkit.attention.calls.events import Events, Spans
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.rules.text_routing import TextRoutingRule, check_events
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.timeline import Event, parse_events, resolve


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Prompts over time: every latent frame reads only the words of its own event.

    The prompt is ``"a | b"`` (events of equal length) or a list of events with ``prompt``, ``start`` and ``end`` in
    seconds. Source: temporal text routing as in Prompt Relay, arXiv 2604.10030, with a plateau over the whole event.
    """

    name: ClassVar[str] = "timeline"
    title: ClassVar[str] = "Timeline"
    paper: ClassVar[str] = "arXiv 2604.10030"
    seams: ClassVar[tuple[str, ...]] = ("text", "attention")
    claims: ClassVar[frozenset[str]] = frozenset({"text"})

    tail: float = 0.33
    """Seconds over which an event fades into the next; 0 is a hard cut."""
    everywhere: str = ""
    """Words in front of every event's own."""

    def __post_init__(self) -> None:
        if not self.tail >= 0:
            raise UsageError(f"timeline: tail={self.tail} is a time in seconds and must be at least 0")

    def parts(self, target: Target) -> Parts:
        """Return the text plan and the routing rule for a target."""
        if "cross" not in target.kinds:
            raise UsageError(
                f"timeline works in cross-attention, and {target.title} has text and video in one joint attention; "
                "leave timeline out, or use a Wan, LTX, AnimateDiff or TextToVideoSD pipeline"
            )
        return Parts(rules=[TextRoutingRule(tail=self.tail)], text=self)

    def read(self, prompt: str | Sequence[Any]) -> Events:
        """Return the events of a prompt, with the words of ``everywhere`` before each text."""
        try:
            events = parse_events(prompt)
        except ValueError as error:
            raise UsageError(f"timeline: {error}") from None
        texts = [f"{self.everywhere} {event.prompt}".strip() for event in events]
        return Events(partial(_spans, events), texts, prompt if isinstance(prompt, str) else " | ".join(texts))


def _spans(events: tuple[Event, ...], whole: VideoGrid) -> Spans:
    """Return when each event is shown; refuse events that do not fit the video or its latent frames."""
    try:
        spans = resolve(events, whole.pixel_frames / whole.fps)
        check_events(whole, spans)
    except ValueError as error:
        raise UsageError(f"timeline: {error}") from None
    return spans
