"""Positions in time for videos longer than the model was trained on: where frames stand, how fast frequencies turn.

A model turns queries and keys, or adds a sinusoid, by the angle ``position * inverse frequency`` of each frame. A plan
answers with other positions or other inverse frequencies, and touches neither rows nor columns.
"""

from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch
from torch import Tensor


class PositionPlan(Protocol):
    """Changes the time axis of a model's positions."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions of the frames and the inverse frequencies.

        Args:
            frames: latent frames, after temporal patching, whose positions count from one beginning.
            native: the same of the clips that the model was trained on.
            inverse_frequencies: radians a latent frame, float64 ``[..., P]`` on the CPU; leading axes are heads that
                have frequencies of their own. Not to be written to.

        Returns:
            Positions ``[frames]`` in latent frames, and inverse frequencies of the same shape; float64, finite. The
            model's own are ``0, 1, ..., frames - 1`` and the inverse frequencies as given.
        """
        ...


def even_positions(frames: int, factor: float = 1.0) -> Tensor:
    """Return ``0, 1, ..., frames - 1`` divided by ``factor``, float64 ``[frames]``; 1 gives whole numbers exactly."""
    return torch.arange(frames, dtype=torch.float64) / factor


def periods(inverse_frequencies: Tensor) -> Tensor:
    """Return the latent frames after which each frequency has turned once; infinite for one that stands still."""
    return 2 * pi / inverse_frequencies.abs()


def intrinsic_frequency(
    inverse_frequencies: Tensor, native: int, repeats: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return ``k`` and ``N_k``: which frequency makes long videos repeat, and its period.

    Args:
        inverse_frequencies: radians a latent frame, ``[..., P]``.
        native: latent frames of the clips that the model was trained on.
        repeats: the latent frame at which videos were first seen to repeat, ``N`` in the paper; None if nobody looked.

    Returns:
        ``k`` counts from 1, the fastest frequency first, int64 ``[...]``; ``N_k`` is in latent frames, float64
        ``[...]``. With ``repeats``, the frequency whose period is nearest to it; without, the fastest one that training
        never saw turn once, so that its period is the first at which a longer video meets angles that it has met
        before. For HunyuanVideo (33 frames, seen at 48) and CogVideoX (13 frames, seen at 20) the two agree: 4 and 50,
        2 and 20. Where every frequency turns faster, it is the slowest.

    Source: RIFLEx, arXiv 2502.15894, algorithm 1, which takes ``N`` from videos. The rule without it is ours.
    """
    ordered = periods(inverse_frequencies).sort(-1).values
    if repeats is not None:
        index = (ordered - repeats).abs().argmin(-1)
    else:
        index = (ordered < native).sum(-1).clamp(max=ordered.shape[-1] - 1)
    return index + 1, ordered.gather(-1, index[..., None])[..., 0]


def with_slower_frequency(inverse_frequencies: Tensor, k: Tensor, period: float) -> Tensor:
    """Return inverse frequencies in which number ``k``, the fastest being 1, turns once in ``period`` latent frames.

    ``k`` is int64 ``[...]``, one for each head. Signs stay; a frequency that is as slow already stays as it is.
    """
    place = periods(inverse_frequencies).argsort(-1).gather(-1, (k - 1)[..., None])
    before = inverse_frequencies.gather(-1, place)
    slower = torch.minimum(before.abs(), torch.full_like(before, 2 * pi / period))
    return inverse_frequencies.scatter(-1, place, torch.where(slower < before.abs(), slower * before.sign(), before))


@dataclass(frozen=True, kw_only=True)
class InterpolatedPositions:
    """All frames at positions inside those of training, evenly spaced."""

    factor: float | None = None
    """Frames in the place of one; None is as many as put the last frame where training's last frame stood."""
    name: str = "position-interpolation"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions divided by the factor; frequencies as given."""
        factor = max(1.0, (frames - 1) / max(1, native - 1)) if self.factor is None else self.factor
        return even_positions(frames, factor), inverse_frequencies


@dataclass(frozen=True, kw_only=True)
class SlowerIntrinsicFrequency:
    """One frequency slowed so that the video ends before it has turned once; for each head where they differ."""

    k: int | None = None
    """Number of the frequency, the fastest being 1; None finds it."""
    n_k: int | None = None
    """Latent frames beyond which it is slowed; None is its period."""
    margin: float = 0.9
    """Share of a turn that the whole video takes."""
    name: str = "riflex"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions as they are, and the frequencies with the slower one where the video is long enough.

        Raises:
            ValueError: the model has fewer than ``k`` frequencies.
        """
        k, limit = intrinsic_frequency(inverse_frequencies, native, self.n_k)
        if self.k is not None:
            count = inverse_frequencies.shape[-1]
            if self.k > count:
                raise ValueError(f"{self.name}: k={self.k} is more than the {count} frequencies in time of this model")
            k = torch.full_like(k, self.k)
            limit = periods(inverse_frequencies).sort(-1).values[..., self.k - 1]
        limit = limit.round() if self.n_k is None else torch.full_like(limit, float(self.n_k))
        slower = with_slower_frequency(inverse_frequencies, k, frames / self.margin)
        return even_positions(frames), torch.where((frames > limit)[..., None], slower, inverse_frequencies)


def said(frames: int, before: Tensor, positions: Tensor, inverse_frequencies: Tensor) -> str | None:
    """Return what a plan changed, as the end of a sentence; None if it left everything as the model makes it."""
    parts = []
    if not torch.equal(positions, even_positions(frames)):
        parts.append(f"positions run from {positions[0]:.4g} to {positions[-1]:.4g} and not from 0 to {frames - 1}")
    changed = before != inverse_frequencies
    if changed.any():
        parts.append(_frequencies_said(before, inverse_frequencies, changed))
    return "; ".join(parts) or None


def _frequencies_said(before: Tensor, after: Tensor, changed: Tensor) -> str:
    count = int(changed.sum())
    if count > 1 or before.ndim > 1:
        return f"{count} of {before.numel()} frequencies are others"
    old, new = float(periods(before)[changed]), float(periods(after)[changed])
    k = int((before.abs() > before[changed].abs()).sum()) + 1
    return f"frequency {k} turns once in {new:.4g} frames and not in {old:.4g}"
