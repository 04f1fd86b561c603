"""FIFO: any number of frames from a queue of latent frames of rising noise."""

from dataclasses import dataclass
from typing import ClassVar

from genkit.errors import UsageError
from genkit.plugins.contract import Parts, Target
from genkit.schedulers.turns import DiagonalPlan


@dataclass(frozen=True, kw_only=True)
class FIFO:
    """Videos of any length with memory that does not grow: each turn gives a clean frame away and takes noise in.

    A video of one window or shorter is not changed. ``num_inference_steps`` is what it always is, the solver steps of
    each frame, and so the length of the queue in latent frames; the paper takes four windows of them, and with fewer
    the noise differs more between the frames that a forward sees. A video of ``N`` latent frames takes ``N + 2 steps -
    window`` turns. Needs a model that takes a timestep a frame or a token (Wan, LTX) and a scheduler with the noise
    levels of flow matching.

    Source: arXiv 2405.11473; what differs is in ``genkit.schedulers.turns.DiagonalTurns``.
    """

    name: ClassVar[str] = "fifo"
    title: ClassVar[str] = "FIFO-Diffusion"
    paper: ClassVar[str] = "arXiv 2405.11473"
    seams: ClassVar[tuple[str, ...]] = ("turns",)
    claims: ClassVar[frozenset[str]] = frozenset({"turns", "noise", "windows", "step cache"})

    window: int | None = None
    """Latent frames that one forward sees; None is the model's training length."""
    lookahead: bool = True
    """Whether each forward moves only its noisier half and looks at the cleaner one; twice the forwards."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 2:
            raise UsageError(f"fifo: window={self.window} must be at least 2 latent frames")

    def parts(self, target: Target) -> Parts:
        """Return the plan of turns for a target."""
        if target.one_level is not None:
            raise UsageError(
                f"fifo needs frames of different noise in one forward of the model, and {target.title} cannot have "
                f"them: {target.one_level}; use freenoise or freelong for a longer video"
            )
        return Parts(turns=DiagonalPlan(window=self.window or target.native_frames, lookahead=self.lookahead))
