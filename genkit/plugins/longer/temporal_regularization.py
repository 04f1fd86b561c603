"""Temporal attention regularization of VSTAR: frames attend more to those nearby."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.attention.rules.temporal_regularization import TemporalRegularizationRule
from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target


@dataclass(frozen=True, kw_only=True)
class TemporalAttentionRegularization:
    """More change over time: a share of each row's max logit is added to the logits of nearby frames.

    Source: VSTAR, arXiv 2403.13501, for the temporal attention of UNets; on models with attention over space and time
    the same is added by the distance of frames, which the paper does not try.
    """

    name: ClassVar[str] = "temporal-regularization"
    title: ClassVar[str] = "Temporal attention regularization (VSTAR)"
    paper: ClassVar[str] = "arXiv 2403.13501"
    seams: ClassVar[tuple[str, ...]] = ("attention",)
    claims: ClassVar[frozenset[str]] = frozenset({"frame logits"})

    sigma: float = 1.0
    """Standard deviation in latent frames; smaller draws frames apart and makes more motion."""
    strength: float = 1.0
    """Share of the max logit that is added to a frame itself; 0 changes nothing."""
    until: float = 0.56
    """Share of the steps, from the first, that are regularized: 14 of 25 in the released code."""
    levels: int = 1
    """Levels of resolution, from the finest, of a UNet; the paper takes 2 for about 64 frames."""

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise UsageError(f"temporal-regularization: sigma={self.sigma} must be more than 0 latent frames")
        if self.strength < 0:
            raise UsageError(f"temporal-regularization: strength={self.strength} must be at least 0")
        if not 0 <= self.until <= 1:
            raise UsageError(f"temporal-regularization: until={self.until} is a share of the steps, in [0, 1]")
        if self.levels < 1:
            raise UsageError(f"temporal-regularization: levels={self.levels} must be at least 1")

    def parts(self, target: Target) -> Parts:
        """Return the rule for a target."""
        rule = TemporalRegularizationRule(
            sigma=self.sigma, strength=self.strength, until=self.until, levels=self.levels
        )
        return Parts(rules=[rule])
