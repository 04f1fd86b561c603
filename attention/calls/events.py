"""The events of a prompt: when each of them is to be seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from genkit.attention.geometry.grid import VideoGrid

Spans = Sequence[tuple[float, float]]
"""Begin and end of each event in seconds of the whole video, in order and without overlaps."""


@dataclass
class Events:
    """Events whose seconds are worked out once, when the geometry of the whole video is known."""

    resolve: Callable[[VideoGrid], Spans]
    """Returns the spans in a video, given its geometry; raises ``ValueError`` where they do not fit it."""
    texts: Sequence[str] = ()
    """Text of each event."""
    prompt: str = ""
    """The one text that stands for all of them where a pipeline takes a text."""
    _known: dict[tuple[int, int, int, float], Spans] = field(default_factory=dict)

    def spans(self, whole: VideoGrid) -> Spans:
        """Return the spans in the video of ``whole``."""
        clock = (whole.frames, whole.stride, whole.first_pixels, whole.fps)
        if clock not in self._known:
            self._known[clock] = self.resolve(whole)
        return self._known[clock]
