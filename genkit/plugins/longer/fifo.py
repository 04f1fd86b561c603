"""FIFO: videos of any length from a queue of latent frames with increasing noise."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.turns import DiagonalPlan


@dataclass(frozen=True, kw_only=True)
class FIFO:
    """Videos of any length in constant memory: each turn outputs one clean latent frame and adds one of noise.

    A video of one window or shorter is not changed. ``num_inference_steps`` is the number of solver steps of each frame
    and so the length of the queue; the paper uses four windows, and with fewer steps the noise levels in a forward are
    further apart. A video of ``N`` latent frames takes ``N + 2 steps - window`` turns. Needs a model with timesteps per
    frame or token (Wan, LTX) and a flow-matching scheduler.

    Source: arXiv 2405.11473; ``genkit.schedulers.turns.DiagonalTurns`` lists the differences.
    """

    name: ClassVar[str] = "fifo"
    title: ClassVar[str] = "FIFO-Diffusion"
    paper: ClassVar[str] = "arXiv 2405.11473"
    seams: ClassVar[tuple[str, ...]] = ("turns",)
    claims: ClassVar[frozenset[str]] = frozenset({"turns", "noise", "windows", "step cache"})

    window: int | None = None
    """Latent frames of one forward; None is the model's training length."""
    lookahead: bool = True
    """Whether each forward denoises only its noisier half, with the cleaner half as context; twice as many forwards."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 2:
            raise UsageError(f"fifo: window={self.window} must be at least 2 latent frames")

    def parts(self, target: Target) -> Parts:
        """Return the plan of turns for a target."""
        if target.one_level is not None:
            raise UsageError(
                f"fifo needs frames with different noise levels in one forward, which {target.title} does not support: "
                f"{target.one_level}; use freenoise or freelong for a longer video"
            )
        return Parts(turns=DiagonalPlan(window=self.window or target.trained_on(self.name), lookahead=self.lookahead))
