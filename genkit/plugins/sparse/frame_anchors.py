"""Frame anchors: neighbours, first frames, and key frames that move."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.frame_anchors import FrameAnchorsPlanner
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class FrameAnchors(Sparse):
    """Sparse attention for videos beyond the training length: frames read their neighbours and a few key frames.

    A frame reads about as many frames as the model was trained on, whatever the length, so the time grows with the
    length and not with its square. A video of the training length or shorter is not changed. Source: "LVSA",
    arXiv 2605.31057.
    """

    name: ClassVar[str] = "frame-anchors"
    title: ClassVar[str] = "Frame Anchors"
    paper: ClassVar[str] = "arXiv 2605.31057"
    sparse_example: ClassVar[str] = "near=0,key_frames=0"
    dense_example: ClassVar[str] = "near=9"

    near: int = 3
    """Latent frames to either side that a frame reads; at the ends the window is moved inside."""
    first: int = 1
    """Latent frames at the beginning that all frames read."""
    key_frames: int | None = None
    """Most latent frames, spread evenly, that all frames read; None makes up the training length, 0 is none."""
    rotate: bool = True
    """Whether the key frames move on by one latent frame in every step."""
    dense_steps: float = 0.0
    """Share of the steps, from the first, that run dense; 0 is none, since dense attention is what ails long videos."""
    dense_layers: int = 0
    """Layers, from the first, that run dense; 0 is none."""

    def check(self) -> None:
        """Counts."""
        self.check_least(0, "near", "first", "key_frames")

    def planner(self) -> FrameAnchorsPlanner:
        """Return the planner that follows these fields."""
        return FrameAnchorsPlanner(self)
