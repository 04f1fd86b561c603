"""Names of motions: the world's own tracks, fitted to a path with minimum squared error."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from genkit.tiny.motions import FPS, World
from genkit.tiny.sight.pixels import Path

MIN_EXPLAINED = 0.5  # share of a path's variance that a motion must explain
MAX_WANDER = 0.04  # root mean square, in frame sides, by which a still thing may stray
MIN_SPANS = {"across": 0.08, "grow": 0.4, "bounce": 0.06, "orbit": 0.03}
"""Smaller motions count as still: in frame sides (orbit: its radius), for ``grow`` in the log ratio of the radii."""


@dataclass(frozen=True)
class _Fit:
    """A motion fitted to a path: ``rest`` is the remaining squared error, ``span`` the extent of the motion."""

    motion: str
    rest: float
    span: float


def name_motion(path: Path, turn: float, world: World) -> str | None:
    """Return the motion whose track fits a path best; None if even that explains too little.

    ``turn`` is the rotation of the outline, 0 if there is none.
    """
    when = path.seen > 0
    time = (torch.arange(len(when)) / FPS)[when].double()
    x, y, r = (signal[when].double() for signal in (path.x, path.y, path.radius))
    total = sum(_spread(signal) for signal in (x, y, r))
    fits = [fit for make in FITS for fit in make(world, time, x, y, r)]
    best = min(fits, key=lambda fit: fit.rest)
    if best.span < MIN_SPANS.get(best.motion, MIN_SPANS["across"]):
        strays = (total / len(x)) ** 0.5 > MAX_WANDER
        return None if strays else "spin" if turn else "still"
    return best.motion if best.rest < (1 - MIN_EXPLAINED) * total else None


def _spread(signal: Tensor) -> float:
    """Return the squared error that is left by a constant."""
    return float((signal - signal.mean()).square().sum())


def _scale(signal: Tensor, waves: Tensor) -> tuple[float, float]:
    """Fit a signal by a constant and the best of ``waves [K, T]``; return the squared error and the wave's weight."""
    signal, waves = signal - signal.mean(), waves - waves.mean(1, keepdim=True)
    power = waves.square().sum(1).clamp_min(1e-12)
    weights = waves @ signal / power
    best = int((weights.square() * power).argmax())
    weight = float(weights[best])
    return float((signal - weight * waves[best]).square().sum()), weight


def _across(world: World, time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    waves = world.sweeps(time)
    (rest_x, dx), (rest_y, dy) = _scale(x, waves), _scale(y, waves)
    fixed_x, fixed_y, fixed_r = (_spread(signal) for signal in (x, y, r))
    return [
        _Fit("right" if dx > 0 else "left", rest_x + fixed_y + fixed_r, 2 * abs(dx)),
        _Fit("down" if dy > 0 else "up", rest_y + fixed_x + fixed_r, 2 * abs(dy)),
    ]


def _grow(world: World, time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    rest, half = _scale(r, world.sweeps(time))
    middle = float(r.mean())
    span = abs(log(max(middle + half, 1e-3) / max(middle - half, 1e-3)))
    return [_Fit("grow" if half > 0 else "shrink", rest + _spread(x) + _spread(y), span)]


def _bounce(world: World, time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    rest, depth = _scale(y, world.bounces(time))
    return [_Fit("bounce", rest + _spread(x) + _spread(r), max(-depth, 0.0))]


def _orbit(world: World, time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    """Fit a circle at an even pace, in either direction, from any point on it."""
    fits = [_circle(way * pace * 2 * pi / world.orbit_seconds * time, x, y) for way in (-1, 1) for pace in world.paces]
    rest, radius = min(fits)
    return [_Fit("orbit", rest + _spread(r), radius)]


def _circle(turn: Tensor, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Fit ``x + i y`` by a constant and ``exp(i turn)``; return the squared error and the radius."""
    path, wave = torch.complex(x, y), torch.polar(torch.ones_like(turn), turn)
    path, wave = path - path.mean(), wave - wave.mean()
    weight = (wave.conj() @ path) / wave.abs().square().sum()
    return float((path - weight * wave).abs().square().sum()), float(weight.abs())


FITS: tuple[Callable[[World, Tensor, Tensor, Tensor, Tensor], list[_Fit]], ...] = (_across, _grow, _bounce, _orbit)
