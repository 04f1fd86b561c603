"""The angles of one table as the model has them and as a plan wants them, computed once a run."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.attention.facts.positions import Rotation
from genkit.attention.facts.volume import Volume
from genkit.attention.model.session import Session

Plan = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Given frames and inverse frequencies ``[..., P]``, gives positions ``[frames]`` and inverse frequencies."""
Check = Callable[[Rotation], None]
"""Raises ``ValueError`` unless the model's own table turns as a ``Rotation`` says."""
ROUNDINGS = 8
"""Roundings by which a model's own table may miss its angles: frequency, position, product, phase, cosine."""


@dataclass(frozen=True)
class Angles:
    """Radians of each frame and frequency, float64 ``[frames, ..., P]`` on the CPU."""

    before: Tensor
    after: Tensor
    channels: Tensor | None
    """As in ``Rotation``."""
    last: float
    """Position of the last frame."""

    @property
    def changed(self) -> Tensor:
        """Which of them the plan changes; everything else stays bit for bit."""
        return self.before != self.after


class Shift:
    """What one plan makes of the positions in the forwards of one pipeline."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self.session, self.plan = session, plan

    @property
    def volume(self) -> Volume | None:
        """Frames, rows and columns of tokens that have positions; None outside of the pipeline's own forwards."""
        return self.session.volume

    def angles(self, place: Hashable, frames: int, rotation: Callable[[], Rotation], check: Check) -> Angles:
        """Return the angles of the table at ``place``, which is checked once a run."""

        def make() -> Angles:
            read = rotation()
            check(read)
            return planned(read, frames, self.plan)

        return self.session.run.memory.table(("positions", place, frames), make)


def planned(rotation: Rotation, frames: int, plan: Plan) -> Angles:
    """Return the angles before and after a plan.

    Raises:
        ValueError: what the plan gives has another shape, or is not finite.
    """
    own, phases = rotation.inverse_frequencies, rotation.phases
    places = torch.arange(frames, dtype=torch.float64)
    positions, inverse_frequencies = plan(frames, own.clone())
    if positions.shape != places.shape or inverse_frequencies.shape != own.shape:
        raise ValueError(
            f"a plan of positions gave {list(positions.shape)} positions and {list(inverse_frequencies.shape)} inverse "
            f"frequencies for {frames} frames and {list(own.shape)}; give as many as it was given"
        )
    if not (positions.isfinite().all() and inverse_frequencies.isfinite().all()):
        raise ValueError("a plan of positions gave positions or inverse frequencies that are NaN or infinite")
    before, after = (_outer(x, w, phases) for x, w in ((places, own), (positions, inverse_frequencies)))
    return Angles(before, after, rotation.channels, float(positions.max()))


def _outer(positions: Tensor, inverse_frequencies: Tensor, phases: Tensor | None) -> Tensor:
    angles = positions.double().view(-1, *[1] * inverse_frequencies.ndim) * inverse_frequencies.double()
    return angles if phases is None else angles + phases


def check_turns(rotation: Rotation, cosines: Tensor, sines: Tensor, what: str) -> None:
    """Raise ``ValueError`` unless frame ``f`` is frame 0 turned by ``f`` times the inverse frequencies.

    ``cosines`` and ``sines`` are those of one token a frame, ``[frames, ..., C]``; ``what`` names their table.
    """
    own, channels = rotation.inverse_frequencies, rotation.channels
    table = torch.complex(cosines.detach().double().cpu(), sines.detach().double().cpu())
    if channels is not None:
        table, own = table[..., channels], own[:, None]
    turned = torch.arange(len(table), dtype=torch.float64).view(-1, *[1] * (table.ndim - 1)) * own
    missed = (table - table[:1] * torch.polar(torch.ones_like(turned), turned)).abs()
    phases = 0.0 if rotation.phases is None else float(rotation.phases.abs().max())
    # A frame and frame 0 may each miss its angles by as much.
    check_near(missed / 2, cosines.dtype, float(turned.abs().max()) + phases, what)


def check_near(missed: Tensor, dtype: torch.dtype, largest: float, what: str) -> None:
    """Raise ``ValueError`` if a table of ``dtype`` misses its angles by more than rounding; ``largest`` in radians."""
    allowed = ROUNDINGS * (torch.finfo(dtype).eps + torch.finfo(torch.float32).eps * largest)
    if not float(missed.max()) <= allowed:
        raise ValueError(
            f"{what} is not what the card of its family says (off by {float(missed.max()):.2g}), so its positions "
            "cannot be changed; leave the plug-in out, or correct `positions` on the card in attention/facts/cards.py"
        )
