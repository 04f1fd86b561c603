"""Rotation angles of one table before and after a plan, computed once per run."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.attention.facts.positions import Rotation
from genkit.attention.facts.volume import Volume
from genkit.attention.model.session import Session

Plan = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Returns positions ``[frames]`` and inverse frequencies, given frames and inverse frequencies ``[..., P]``."""
Check = Callable[[Rotation], None]
"""Raises ``ValueError`` unless the model's own table has the angles of a ``Rotation``."""
ROUNDINGS = 8
"""Roundings allowed between a model's own table and its angles: frequency, position, product, phase, cosine."""


class NotAsDescribedError(ValueError):
    """The model's table of positions is not the one that its facts describe."""


@dataclass(frozen=True)
class Angles:
    """Radians of each frame and frequency, float64 ``[frames, ..., P]`` on the CPU."""

    before: Tensor
    after: Tensor
    channels: Tensor | None
    """See ``Rotation``."""
    last: float
    """Position of the last frame."""

    @property
    def changed(self) -> Tensor:
        """True where the plan changes an angle; all else stays bit-identical."""
        return self.before != self.after


class Shift:
    """Change of the positions by one plan in the forwards of one pipeline."""

    def __init__(self, session: Session, plan: Plan) -> None:
        self.session, self.plan = session, plan

    @property
    def volume(self) -> Volume | None:
        """Frames, rows and columns of the tokens in the current forward; None outside the pipeline's own forwards."""
        return self.session.volume

    def angles(self, place: Hashable, frames: int, rotation: Callable[[], Rotation], check: Check) -> Angles:
        """Return the angles of the table at ``place``; it is checked once per run."""

        def make() -> Angles:
            read = rotation()
            check(read)
            return planned(read, frames, self.plan, self.session.lead)

        return self.session.run.memory.table(("positions", place, frames), make)


def planned(rotation: Rotation, frames: int, plan: Plan, lead: int = 0) -> Angles:
    """Return the angles before and after a plan.

    The plan places the frames of the video; ``lead`` images in front of them keep their places.

    Raises:
        ValueError: the plan returned another shape or values that are not finite.
    """
    own, phases = rotation.inverse_frequencies, rotation.phases
    places = torch.arange(frames, dtype=torch.float64)
    positions, inverse_frequencies = plan(frames - lead, own.clone())
    positions = torch.cat([places[:lead], positions + lead])
    if positions.shape != places.shape or inverse_frequencies.shape != own.shape:
        raise ValueError(
            f"a position plan returned {list(positions.shape)} positions and {list(inverse_frequencies.shape)} inverse "
            f"frequencies for {frames} frames and {list(own.shape)}; return as many as it was given"
        )
    if not (positions.isfinite().all() and inverse_frequencies.isfinite().all()):
        raise ValueError("a position plan returned NaN or infinite values; positions and frequencies must be finite")
    before, after = (_outer(x, w, phases) for x, w in ((places, own), (positions, inverse_frequencies)))
    return Angles(before, after, rotation.channels, float(positions.max()))


def _outer(positions: Tensor, inverse_frequencies: Tensor, phases: Tensor | None) -> Tensor:
    angles = positions.double().view(-1, *[1] * inverse_frequencies.ndim) * inverse_frequencies.double()
    return angles if phases is None else angles + phases


def check_turns(rotation: Rotation, cosines: Tensor, sines: Tensor, what: str) -> None:
    """Raise ``NotAsDescribedError`` unless frame ``f`` is frame 0 rotated by ``f`` times the inverse frequencies.

    ``cosines`` and ``sines`` are those of one token per frame, ``[frames, ..., C]``; ``what`` names their table.
    """
    own, channels = rotation.inverse_frequencies, rotation.channels
    table = torch.complex(cosines.detach().double().cpu(), sines.detach().double().cpu())
    if channels is not None:
        table, own = table[..., channels], own[:, None]
    turned = torch.arange(len(table), dtype=torch.float64).view(-1, *[1] * (table.ndim - 1)) * own
    missed = (table - table[:1] * torch.polar(torch.ones_like(turned), turned)).abs()
    phases = 0.0 if rotation.phases is None else float(rotation.phases.abs().max())
    # A frame and frame 0 may each deviate from their angles by as much.
    check_near(missed / 2, cosines.dtype, float(turned.abs().max()) + phases, what)


def check_near(missed: Tensor, dtype: torch.dtype, largest: float, what: str) -> None:
    """Raise ``NotAsDescribedError`` if a table of ``dtype`` deviates by more than rounding at the ``largest`` angle."""
    allowed = ROUNDINGS * (torch.finfo(dtype).eps + torch.finfo(torch.float32).eps * largest)
    if not float(missed.max()) <= allowed:
        raise NotAsDescribedError(
            f"{what} does not match the facts of its family (off by {float(missed.max()):.2g}), so its positions "
            "cannot be changed; leave out the plug-in, or correct `positions` in the facts of the model"
        )
