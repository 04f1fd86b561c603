"""What one run of a pipeline needs to know of the plug-ins that are in it."""

from dataclasses import dataclass
from typing import Any

from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.model_card import ModelCard
from genkit.attention.model.session import Session
from genkit.generation.models.positions import PositionSeam
from genkit.generation.turns.seam import TurnSeam
from genkit.plugins.contract import DecodePlan, Plugin, TextPlan


@dataclass(frozen=True, kw_only=True)
class Context:
    """A pipeline with its plug-ins, without the handle that installs and removes them."""

    pipe: Any
    card: ModelCard
    session: Session
    plugins: tuple[Plugin, ...]
    text: TextPlan | None
    """Splits the prompt into events; None takes it as one text."""
    positions: PositionSeam | None
    """Says where frames stand; None leaves them where the model has them."""
    turns: TurnSeam | None = None
    """What one turn of the sampling loop means; None: a solver step."""
    decoding: tuple[DecodePlan, ...] = ()
    """How latents become frames, the innermost first; empty leaves it to the pipeline."""

    @property
    def longest(self) -> int | None:
        """Pixel frames at which the positions of the model end; None: nowhere, or windows or a plan set them."""
        return self.card.longest(self.pipe) if self.session.bounded and self.positions is None else None

    @property
    def window(self) -> int | None:
        """Pixel frames that the model sees at once; None: all."""
        frames = self.session.max_frames
        return None if frames is None else (frames - 1) * self.card.stride(self.pipe) + 1

    @property
    def streams(self) -> bool:
        """Whether the frames leave the autoencoder's device piece by piece."""
        return bool(self.decoding) and all(plan.streams for plan in self.decoding)

    def begin_run(self, fps: float) -> RunRecord:
        """Start a fresh record for one generation and return it."""
        self.session.run, self.session.fps, self.session.batch = RunRecord(), fps, None
        return self.session.run
