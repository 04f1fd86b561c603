"""RIFLEx: the frequency that makes long videos repeat, slowed."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.positions import SlowerIntrinsicFrequency


@dataclass(frozen=True, kw_only=True)
class RIFLEx:
    """Longer videos that do not repeat: one frequency of the positions is slowed so that it never turns once.

    A video of ``n_k`` latent frames or fewer is not changed. Source: arXiv 2502.15894, algorithm 1. Different
    from the source:

    - it finds ``k`` from the latent frame at which videos were seen to repeat; without that, ``k`` is here the fastest
      frequency that training never saw turn once, which is the same one for HunyuanVideo (4) and CogVideoX (2);
    - the released code slows by a further 0.9, which the paper does not say: ``margin``;
    - the released code leaves CogVideoX 1.5 as it is, without a word; here it counts in tokens and acts;
    - learned frequencies (Mochi) are found for each head, and sinusoids (AnimateDiff, CogVideoX-2b), of which the paper
      says nothing, are slowed alike.
    """

    name: ClassVar[str] = "riflex"
    title: ClassVar[str] = "RIFLEx"
    paper: ClassVar[str] = "arXiv 2502.15894"
    seams: ClassVar[tuple[str, ...]] = ("positions",)
    claims: ClassVar[frozenset[str]] = frozenset({"temporal positions"})

    k: int | None = None
    """Number of the frequency that is slowed, the fastest being 1; None finds it."""
    n_k: int | None = None
    """Latent frame at which videos of the model begin to repeat: no shorter video is changed, and a ``k`` of None is
    the frequency whose period is nearest to it. None is the period of ``k``, rounded."""
    margin: float = 0.9
    """Share of a turn of that frequency in the whole video; 1 as in the paper, 0.9 as in its code."""

    def __post_init__(self) -> None:
        for name in ("k", "n_k"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"riflex: {name}={value} must be at least 1; leave it out to find it by the rule")
        if not 0 < self.margin <= 1:
            raise UsageError(f"riflex: margin={self.margin} is a share of a turn and must lie in (0, 1]")

    def parts(self, target: Target) -> Parts:
        """Plan of positions for a target."""
        return Parts(positions=SlowerIntrinsicFrequency(k=self.k, n_k=self.n_k, margin=self.margin))
