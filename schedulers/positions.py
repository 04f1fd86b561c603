"""Positions in time for videos beyond the training length.

A model rotates queries and keys, or adds a sinusoid, by the angle ``position * inverse frequency`` of each frame. A
plan changes positions or inverse frequencies in time, and never those of rows or columns.
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
            frames: latent frames, after temporal patching, that are positioned together.
            native: training length, in the same unit.
            inverse_frequencies: radians per latent frame, float64 ``[..., P]`` on the CPU; leading axes are heads with
                separate frequencies. Read-only.

        Returns:
            Positions ``[frames]`` in latent frames, and inverse frequencies of the same shape; float64, finite. The
            model's own are ``0, 1, ..., frames - 1`` and the given inverse frequencies.
        """
        ...


def even_positions(frames: int, factor: float = 1.0) -> Tensor:
    """Return ``0, 1, ..., frames - 1`` divided by ``factor``, float64 ``[frames]``; 1 gives whole numbers exactly."""
    return torch.arange(frames, dtype=torch.float64) / factor


def periods(inverse_frequencies: Tensor) -> Tensor:
    """Return the period of each frequency in latent frames; infinite for frequency 0."""
    return 2 * pi / inverse_frequencies.abs()


def intrinsic_frequency(
    inverse_frequencies: Tensor, native: int, repeats: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return ``k`` and ``N_k``: the frequency that makes long videos repeat, and its period.

    Args:
        inverse_frequencies: radians per latent frame, ``[..., P]``.
        native: training length in latent frames.
        repeats: latent frame at which videos begin to repeat, ``N`` in the paper; None if unknown.

    Returns:
        ``k`` counts from 1, the fastest frequency first, int64 ``[...]``; ``N_k`` is in latent frames, float64
        ``[...]``. With ``repeats``, the frequency with the nearest period. Without, the fastest one whose period is at
        least the training length: the first whose angles repeat only in longer videos. For HunyuanVideo (33 frames,
        repeats at 48) and CogVideoX (13 frames, repeats at 20) both rules agree: 4 and 50, 2 and 20. If all periods are
        shorter, it is the slowest frequency.

    Source: RIFLEx, arXiv 2502.15894, algorithm 1, which finds ``N`` by looking at videos. The rule without it is ours.
    """
    ordered = periods(inverse_frequencies).sort(-1).values
    if repeats is not None:
        index = (ordered - repeats).abs().argmin(-1)
    else:
        index = (ordered < native).sum(-1).clamp(max=ordered.shape[-1] - 1)
    return index + 1, ordered.gather(-1, index[..., None])[..., 0]


def with_slower_frequency(inverse_frequencies: Tensor, k: Tensor, period: float) -> Tensor:
    """Return inverse frequencies in which number ``k``, the fastest is 1, has a period of ``period`` latent frames.

    ``k`` is int64 ``[...]``, one for each head. Signs stay; a frequency that is already as slow is not changed.
    """
    place = periods(inverse_frequencies).argsort(-1).gather(-1, (k - 1)[..., None])
    before = inverse_frequencies.gather(-1, place)
    slower = torch.minimum(before.abs(), torch.full_like(before, 2 * pi / period))
    return inverse_frequencies.scatter(-1, place, torch.where(slower < before.abs(), slower * before.sign(), before))


@dataclass(frozen=True, kw_only=True)
class InterpolatedPositions:
    """Plan that spaces all frames evenly within the positions of training."""

    factor: float | None = None
    """Divides all positions; None puts the last frame at the position of the last training frame."""
    name: str = "position-interpolation"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return positions divided by the factor, and the given frequencies."""
        factor = max(1.0, (frames - 1) / max(1, native - 1)) if self.factor is None else self.factor
        return even_positions(frames, factor), inverse_frequencies


@dataclass(frozen=True, kw_only=True)
class SlowerIntrinsicFrequency:
    """Plan that lowers one frequency so that its period is longer than the video; for each head if heads differ."""

    k: int | None = None
    """Index of the frequency, the fastest is 1; None finds it."""
    n_k: int | None = None
    """Latent frames beyond which it is lowered; None is its period."""
    margin: float = 0.9
    """Share of a period that the whole video covers."""
    name: str = "riflex"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return unchanged positions, and the frequencies with one lowered if the video is long enough.

        Raises:
            ValueError: the model has fewer than ``k`` frequencies.
        """
        k, limit = intrinsic_frequency(inverse_frequencies, native, self.n_k)
        if self.k is not None:
            count = inverse_frequencies.shape[-1]
            if self.k > count:
                raise ValueError(f"{self.name}: k={self.k} is more than the {count} temporal frequencies of this model")
            k = torch.full_like(k, self.k)
            limit = periods(inverse_frequencies).sort(-1).values[..., self.k - 1]
        limit = limit.round() if self.n_k is None else torch.full_like(limit, float(self.n_k))
        slower = with_slower_frequency(inverse_frequencies, k, frames / self.margin)
        return even_positions(frames), torch.where((frames > limit)[..., None], slower, inverse_frequencies)


def stretch(frames: int, native: int, factor: float | None) -> float:
    """Return ``factor``; None is how many times longer than the training a video is, at least 1."""
    return max(1.0, frames / native) if factor is None else factor


def by_base(inverse_frequencies: Tensor, factor: float) -> Tensor:
    """Return frequencies of a larger base: the fastest is unchanged, the slowest is ``factor`` times slower.

    ``inverse_frequencies`` ``[..., P]`` are those of a rotary table in order of speed; the same place in the order gets
    the same factor if they are given in another order.
    """
    place = inverse_frequencies.abs().argsort(-1, descending=True).argsort(-1).double()
    return inverse_frequencies / factor ** (place / max(1, inverse_frequencies.shape[-1] - 1))


def by_parts(inverse_frequencies: Tensor, native: int, factor: float, slow: float, fast: float) -> Tensor:
    """Return frequencies of which those that turn fewer than ``slow`` times in training are ``factor`` times slower.

    Those that turn more than ``fast`` times are unchanged, those between them in between, by a linear ramp.
    """
    turns = native / periods(inverse_frequencies)
    kept = ((turns - slow) / (fast - slow)).clamp(0, 1)
    return inverse_frequencies * (kept + (1 - kept) / factor)


@dataclass(frozen=True, kw_only=True)
class LargerBase:
    """Plan that slows the frequencies down, the slower ones more."""

    factor: float | None = None
    """How many times slower the slowest becomes; None: as many times as the video is longer than the training."""
    name: str = "ntk"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return unchanged positions and slower frequencies."""
        factor = stretch(frames, native, self.factor)
        return even_positions(frames), inverse_frequencies if factor == 1 else by_base(inverse_frequencies, factor)


@dataclass(frozen=True, kw_only=True)
class FrequenciesByParts:
    """Plan that slows down the frequencies which did not turn around often in training."""

    factor: float | None = None
    """How many times slower; None: as many times as the video is longer than the training."""
    slow: float = 1.0
    """Turns in training up to which a frequency is slowed down fully."""
    fast: float = 32.0
    """Turns in training from which a frequency is unchanged."""
    name: str = "yarn"

    def plan(self, frames: int, native: int, inverse_frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """Return unchanged positions and frequencies by parts."""
        factor = stretch(frames, native, self.factor)
        if factor == 1:
            return even_positions(frames), inverse_frequencies
        return even_positions(frames), by_parts(inverse_frequencies, native, factor, self.slow, self.fast)


def said(frames: int, before: Tensor, positions: Tensor, inverse_frequencies: Tensor) -> str | None:
    """Return what a plan changed, as the end of a sentence; None if it changed nothing."""
    parts = []
    if not torch.equal(positions, even_positions(frames)):
        parts.append(f"positions run from {positions[0]:.4g} to {positions[-1]:.4g} instead of 0 to {frames - 1}")
    changed = before != inverse_frequencies
    if changed.any():
        parts.append(_frequencies_said(before, inverse_frequencies, changed))
    return "; ".join(parts) or None


def _frequencies_said(before: Tensor, after: Tensor, changed: Tensor) -> str:
    count = int(changed.sum())
    if count > 1 or before.ndim > 1:
        return f"{count} of {before.numel()} frequencies are different"
    old, new = float(periods(before)[changed]), float(periods(after)[changed])
    k = int((before.abs() > before[changed].abs()).sum()) + 1
    return f"frequency {k} has a period of {new:.4g} frames instead of {old:.4g}"
