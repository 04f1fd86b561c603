"""FreeNoise: shuffled noise and windowed attention for videos beyond the training length."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.rules.windows import WindowRule
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.noise import ShuffledNoise, largest_stride


@dataclass(frozen=True, kw_only=True)
class FreeNoise:
    """Longer videos: the noise of one training length is repeated in shuffled groups, attention runs in windows.

    A video of one window or shorter is not changed. Source: arXiv 2310.15169, eq. 7 to 9; the windows always cover the
    last frames, which the released code can miss. Positions that a model adds to its hidden states (AnimateDiff)
    restart in each window, so a video may be longer than the model's table of positions.
    """

    name: ClassVar[str] = "freenoise"
    title: ClassVar[str] = "FreeNoise"
    paper: ClassVar[str] = "arXiv 2310.15169"
    seams: ClassVar[tuple[str, ...]] = ("noise", "attention")
    claims: ClassVar[frozenset[str]] = frozenset({"noise", "attention windows"})

    window: int | None = None
    """Latent frames of a window; None is the model's training length."""
    stride: int | None = None
    """Latent frames from one window to the next; None is about a third of the window, a divisor if possible."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 2:
            raise UsageError(f"freenoise: window={self.window} must be at least 2 latent frames")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"freenoise: stride={self.stride} must be at least 1 latent frame")

    def parts(self, target: Target) -> Parts:
        """Return the noise plan and the window rule for a target."""
        window = self.window or target.trained_on(self.name)
        stride = self.stride or largest_stride(window)
        if stride > window:
            raise UsageError(
                f"freenoise: stride={stride} is more than window={window}, so some frames would be in no window; "
                f"give at most {window}"
            )
        if target.longest is not None and window > target.longest:
            raise UsageError(
                f"freenoise: window={window} is more than the {target.longest} frames at which the positions of this "
                f"{target.title} model end; give at most {target.longest}"
            )
        rule = WindowRule(window=window, stride=stride)
        return Parts(rules=[rule], noise=ShuffledNoise(window=window, stride=stride))
