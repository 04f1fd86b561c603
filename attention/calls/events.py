"""Events of a prompt: when each of them happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from genkit.attention.geometry.grid import VideoGrid

Spans = Sequence[tuple[float, float]]
"""Begin and end of each event in seconds of the whole video, in order and without overlaps."""


@dataclass
class Events:
    """Events of one run; their seconds are resolved once, when the geometry of the whole video is known."""

    resolve: Callable[[VideoGrid], Spans]
    """Returns the spans in a video of this geometry; raises ``ValueError`` if they do not fit."""
    texts: Sequence[str] = ()
    """Text of each event."""
    prompt: str = ""
    """Single text for all events, for pipelines that take one."""
    _known: dict[tuple[int, int, int, float], Spans] = field(default_factory=dict)

    def spans(self, whole: VideoGrid) -> Spans:
        """Return the spans in the video of ``whole``."""
        clock = (whole.frames, whole.stride, whole.first_pixels, whole.fps)
        if clock not in self._known:
            self._known[clock] = self.resolve(whole)
        return self._known[clock]
