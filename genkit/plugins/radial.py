"""Radial attention: a static mask whose band narrows as frames lie further apart."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from genkit.attention.planners.radial import RadialPlanner
from genkit.attention.planners.rule import SparseRule
from genkit.errors import UsageError
from genkit.plugin import Parts, Target


@dataclass(frozen=True, kw_only=True)
class Radial:
    """Sparse attention: each pair of frames keeps a diagonal band that halves when their distance doubles.

    Source: arXiv 2506.19852, with the corrections that no query is left without its own block and that blocks which
    straddle two frames are placed by both.
    """

    name: ClassVar[str] = "radial"
    title: ClassVar[str] = "Radial Attention"
    paper: ClassVar[str] = "arXiv 2506.19852"
    seams: ClassVar[tuple[str, ...]] = ("attention",)

    density: float | None = None
    """Share of the query-key pairs to compute, in (0, 1]; None keeps what ``decay`` gives."""
    decay: float = 1.0
    """Factor on the band's width; smaller is sparser. Not used when ``density`` is given."""
    block: int | None = None
    """Tokens of a block; None is 128, or less for short videos so that the mask can follow the frames."""
    dense_steps: float = 0.25
    """Share of the steps, from the first, that run dense (the paper: 12 of 50)."""
    dense_layers: int = 1
    """Layers, from the first, that run dense (the paper: 1)."""
    min_tokens: int = 256
    """Tokens below which attention is dense because sparse cannot pay; the receipt says so."""
    impl: Literal["auto", "triton", "flex", "reference"] = "auto"
    """Which implementation computes the kept blocks; an explicit choice never falls back."""

    def __post_init__(self) -> None:
        if self.density is not None and not 0 < self.density <= 1:
            raise UsageError(f"radial: density={self.density} must lie in (0, 1]; 1 keeps everything")
        if not self.decay > 0:
            raise UsageError(f"radial: decay={self.decay} must be more than 0")
        if not 0 <= self.dense_steps <= 1:
            raise UsageError(f"radial: dense_steps={self.dense_steps} is a share of the steps and must lie in [0, 1]")
        if self.dense_layers < 0:
            raise UsageError(f"radial: dense_layers={self.dense_layers} must be at least 0")
        if self.impl not in ("auto", "triton", "flex", "reference"):
            raise UsageError(f"radial: impl={self.impl!r} must be 'auto', 'triton', 'flex' or 'reference'")

    def parts(self, target: Target) -> Parts:
        """The mask as a rule for a target."""
        if not target.kinds & {"self", "joint"}:
            raise UsageError(
                f"radial needs attention over all frames at once, and {target.title} attends to space and time apart; "
                "leave radial out for it"
            )
        sink = "self" in target.kinds
        rule = SparseRule(
            planner=RadialPlanner(density=self.density, decay=self.decay, block=self.block, sink=sink),
            dense_steps=self.dense_steps,
            dense_layers=self.dense_layers,
            min_tokens=self.min_tokens,
            impl=self.impl,
        )
        return Parts(rules=[rule])
