"""The seam of positions: a plan answers for the time axis of every table of positions in the pipeline's models."""

from typing import Any

from torch import Tensor

from genkit.attention.model.session import Session
from genkit.attention.positions.adapters import ADAPTERS, Adapter
from genkit.attention.positions.shift import Shift
from genkit.attention.positions.sinusoid import Sinusoids, check_end
from genkit.errors import UsageError
from genkit.schedulers.positions import PositionPlan, said


class PositionSeam:
    """A plan for the models of one pipeline.

    Raises:
        UsageError: they have no positions in time.
    """

    def __init__(self, pipe: Any, session: Session, plan: PositionPlan) -> None:
        self.plan, self.session = plan, session
        self.native = _training_length(plan.name, pipe, session)
        self.adapters: list[Adapter] = []
        facts = session.card.positions
        self.longest: int | None = session.card.longest(pipe)
        check_positions(plan.name, session)
        for component, model in session.models.items():
            self.adapters.append(ADAPTERS[facts.making](component, model, facts, Shift(session, self.answered)))

    def install(self) -> None:
        """Enter every model, after ``session.install()``.

        Raises:
            LookupError: a model has no part where its family makes positions.
        """
        for adapter in self.adapters:
            adapter.install()

    def answered(self, frames: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Ask the plan, and record that it was asked and what it changed."""
        run, name = self.session.run, self.plan.name
        positions, changed = self.plan.plan(frames, self.native, inverse_frequencies)
        run.came[name, "positions"] += 1
        what = said(frames, inverse_frequencies, positions, changed)
        run.note(
            f"{name}: {what}, for {frames} latent frames (training: {self.native})"
            if what
            else f"{name}: {frames} latent frames keep the model's own positions (training: {self.native}), so it "
            "changes nothing"
        )
        return positions, changed

    def check_length(self, frames: int) -> None:
        """Refuse a video of so many latent frames, before it runs, if one stands where a table of positions has ended.

        Raises:
            UsageError: it does.
        """
        frames = min(frames, self.session.window or frames, self.session.max_frames or frames)
        for adapter in self.adapters:
            if self.longest is not None and isinstance(adapter, Sinusoids):
                own = adapter.rotation(adapter.tables[0]).inverse_frequencies
                positions, _ = self.plan.plan(frames, self.native, own)
                try:
                    check_end(frames, float(positions.max()), self.longest)
                except ValueError as error:
                    raise UsageError(f"{self.plan.name}: {error}") from None

    def remove(self) -> None:
        """Leave every model."""
        for adapter in self.adapters:
            adapter.remove()


def _training_length(name: str, pipe: Any, session: Session) -> int:
    frames = session.card.native_token_frames(pipe)
    if frames is None:
        raise UsageError(
            f"{name} depends on the length of the clips that {session.card.title} was trained on, which is not known; "
            "register facts of the checkpoint (genkit.Published)"
        )
    return frames


def check_positions(name: str, session: Session) -> None:
    """Raise ``UsageError`` if the models of a session have no positions in time that can be changed."""
    card = session.card
    if card.positions.making == "none":
        bounded = card.own_lengths is not None and card.own_lengths.longest is not None
        longer = "" if bounded else ", or make longer videos with freenoise or freelong"
        raise UsageError(
            f"{name} changes the positions of frames, and {card.title} {card.positions.fixed}; leave {name} out{longer}"
        )
