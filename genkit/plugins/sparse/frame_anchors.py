"""Frame anchors: neighbours, first frames and rotating key frames."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.planners.frame_anchors import FrameAnchorsPlanner
from genkit.plugins.contract import Parts, Target
from genkit.plugins.sparse.method import Sparse


@dataclass(frozen=True, kw_only=True)
class FrameAnchors(Sparse):
    """Sparse attention for videos beyond the training length: frames read their neighbours and a few key frames.

    A frame reads about as many frames as the model was trained on, so time grows linearly with the length of the video.
    A video of the training length or shorter is not changed. Source: "LVSA", arXiv 2605.31057.
    """

    name: ClassVar[str] = "frame-anchors"
    title: ClassVar[str] = "Frame Anchors"
    paper: ClassVar[str] = "arXiv 2605.31057"
    sparse_example: ClassVar[str] = "near=0,key_frames=0"
    dense_example: ClassVar[str] = "near=9"

    near: int = 3
    """Latent frames that a frame reads on either side; at the ends the window is shifted inwards."""
    first: int = 1
    """Latent frames at the beginning that all frames read."""
    key_frames: int | None = None
    """Max number of evenly spaced latent frames that all frames read; None fills up the training length, 0 is none."""
    rotate: bool = True
    """Whether the key frames move by one latent frame in every step."""
    dense_steps: float = 0.0
    """Share of the steps, from the first, that run dense; 0 is none, because dense attention degrades long videos."""
    dense_layers: int = 0
    """Layers, from the first, that run dense; 0 is none."""

    def check(self) -> None:
        """Check counts."""
        self.check_least(0, "near", "first", "key_frames")

    def parts(self, target: Target) -> Parts:
        """Return the attention rule for a target whose training length is known."""
        target.trained_on(self.name)
        return super().parts(target)

    def planner(self) -> FrameAnchorsPlanner:
        """Return the planner that follows these fields."""
        return FrameAnchorsPlanner(self)
