"""UltraViCo: attention to far frames decays in videos beyond the training length."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.rules.decay import DecayRule
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target


@dataclass(frozen=True, kw_only=True)
class UltraViCo:
    """Longer videos in one pass: positive logits between frames that are far apart are multiplied by a factor.

    A video of the training length or shorter is not changed. Source: arXiv 2511.20123, eq. 5 and 6, with the settings
    of its released code where that differs; the paper gives ``alpha`` 0.9 for Wan at two to four times the length,
    HunyuanVideo 0.95 at twice and 0.9 beyond, with ``beta`` 0.6 to 0.8 around ``period`` 50.
    """

    name: ClassVar[str] = "ultravico"
    title: ClassVar[str] = "UltraViCo"
    paper: ClassVar[str] = "arXiv 2511.20123"
    seams: ClassVar[tuple[str, ...]] = ("attention",)
    claims: ClassVar[frozenset[str]] = frozenset({"frame logits"})

    alpha: float = 0.9
    """Factor on positive logits of frames more than half the training length apart, in [0, 1]; 1 is none."""
    beta: float = 0.6
    """The same near multiples of ``period``."""
    period: float | None = None
    """Latent frames after which the model's positions repeat, such as 50 for HunyuanVideo; None: they do not."""
    around: float = 4
    """Latent frames around a multiple of ``period`` that ``beta`` applies to."""
    centred: bool = True
    """True subtracts the mean key before the factors apply, as the code does and the paper does not say."""
    first_frame: bool = True
    """True hides frames beyond the training length from the first, as the code does against blur."""

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"ultravico: {name}={getattr(self, name)} is a factor and must be in [0, 1]")
        if self.period is not None and self.period <= 0:
            raise UsageError(
                f"ultravico: period={self.period} must be more than 0 latent frames; leave it out for none"
            )
        if self.around < 0:
            raise UsageError(f"ultravico: around={self.around} must be at least 0 latent frames")

    def parts(self, target: Target) -> Parts:
        """Return the rule for a target."""
        rule = DecayRule(
            alpha=self.alpha,
            beta=self.beta,
            period=self.period,
            around=self.around,
            centred=self.centred,
            first_frame=self.first_frame,
            native_frames=target.trained_on(self.name),
        )
        return Parts(rules=[rule])
