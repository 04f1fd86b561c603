"""RIFLEx: slow down the frequency that makes long videos repeat."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import SlowerIntrinsicFrequency


@dataclass(frozen=True, kw_only=True)
class RIFLEx:
    """Longer videos that do not repeat: one frequency of the positions is lowered to less than one period.

    A video of ``n_k`` latent frames or fewer is not changed. Source: arXiv 2502.15894, algorithm 1. Different
    from the source:

    - the paper finds ``k`` from the latent frame at which videos begin to repeat; without it, ``k`` is here the fastest
      frequency whose period is longer than the training, which is the same for HunyuanVideo (4) and CogVideoX (2);
    - the released code lowers the frequency by a further 0.9, which the paper does not mention: ``margin``;
    - the released code silently does nothing for CogVideoX 1.5; here it works, with frames counted in tokens;
    - the paper covers neither learned frequencies (Mochi), found here for each head, nor sinusoids (AnimateDiff,
      CogVideoX-2b), lowered in the same way.
    """

    name: ClassVar[str] = "riflex"
    title: ClassVar[str] = "RIFLEx"
    paper: ClassVar[str] = "arXiv 2502.15894"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    k: int | None = None
    """Index of the frequency to lower, the fastest is 1; None finds it."""
    n_k: int | None = None
    """Latent frame at which the model's videos begin to repeat: shorter videos are not changed, and without ``k`` the
    frequency with the nearest period is lowered. None is the period of ``k``, rounded."""
    margin: float = 0.9
    """Share of a period of that frequency that the whole video covers; the paper: 1, its code: 0.9."""

    def __post_init__(self) -> None:
        for name in ("k", "n_k"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"riflex: {name}={value} must be at least 1; leave it out to find it by the rule")
        if not 0 < self.margin <= 1:
            raise UsageError(f"riflex: margin={self.margin} is a share of a period and must be in (0, 1]")

    def parts(self, target: Target) -> Parts:
        """Return the plan of positions for a target."""
        return Parts(positions=SlowerIntrinsicFrequency(k=self.k, n_k=self.n_k, margin=self.margin))
