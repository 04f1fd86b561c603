"""FreeLong: low frequencies from all frames, high frequencies from a window."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from genkit.attention.rules.spectral_blend import SpectralBlendRule
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.noise import ShuffledNoise, largest_stride


@dataclass(frozen=True, kw_only=True)
class FreeLong:
    """Longer videos: low frequencies from attention over all frames, high frequencies from attention in a window.

    A video of the training length or shorter is not changed. Source: arXiv 2407.19918. The paper blends in the first
    half of the steps, its code in all of them: set ``until``. Its code also skips the global branch in layers of full
    resolution, which the paper does not mention; here all layers blend.
    """

    name: ClassVar[str] = "freelong"
    title: ClassVar[str] = "FreeLong"
    paper: ClassVar[str] = "arXiv 2407.19918"
    seams: ClassVar[tuple[str, ...]] = ("noise", "attention")
    claims: ClassVar[frozenset[str]] = frozenset({"noise", "attention windows"})

    near: int | None = None
    """Latent frames that the local branch reads on either side; None is half the training length."""
    until: float = 1.0
    """Share of the steps, from the first, in which the branches are blended; later steps are local only."""
    cutoff_time: float = 0.25
    """Standard deviation of the low-pass filter along time, in normalised frequency; larger passes more."""
    cutoff_space: float = 0.25
    """The same along rows and columns."""
    noise: Literal["shuffled", "plain"] = "shuffled"
    """``shuffled`` starts from FreeNoise's noise, as the paper does for one prompt; ``plain`` does not."""

    def __post_init__(self) -> None:
        if not 0 <= self.until <= 1:
            raise UsageError(f"freelong: until={self.until} is a share of the steps and must be in [0, 1]")
        for name in ("cutoff_time", "cutoff_space"):
            if not getattr(self, name) > 0:
                raise UsageError(f"freelong: {name}={getattr(self, name)} must be more than 0")
        if self.near is not None and self.near < 1:
            raise UsageError(f"freelong: near={self.near} must be at least 1 latent frame")
        if self.noise not in ("shuffled", "plain"):
            raise UsageError(f"freelong: noise={self.noise!r} must be 'shuffled' or 'plain'")

    def parts(self, target: Target) -> Parts:
        """Return the noise plan and the blend rule for a target."""
        native = target.trained_on(self.name)
        rule = SpectralBlendRule(
            radius=self.near or max(1, native // 2),
            until=self.until,
            cutoff_time=self.cutoff_time,
            cutoff_space=self.cutoff_space,
            native_frames=native,
        )
        shuffled = ShuffledNoise(window=native, stride=largest_stride(native), name="freelong")
        return Parts(rules=[rule], noise=shuffled if self.noise == "shuffled" else None)
