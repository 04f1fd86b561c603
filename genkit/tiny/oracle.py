"""The oracle: reads which scene of the tiny world a clip shows, by classical measurements without learned weights.

``read`` names what one native clip shows, ``read_windows`` what each window of a longer one shows, and ``score``
compares a reading with the requested scene. Nothing is forced: a shape or motion that fits nothing is read as None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import log, pi

import torch
from torch import Tensor

from genkit.errors import UsageError
from genkit.tiny.reading import AREAS, Figure, Outline, Path, background_name, figures, outline
from genkit.tiny.world import NATIVE_FRAMES, NATIVE_SIDE, SIZES, Scene, Thing

ATTRIBUTES = ("color", "shape", "size", "motion", "background")

MIN_LIKENESS = 0.8  # mean correlation with its template that a shape needs to be named
MAX_CLUTTER = 0.4  # anything less similar to every shape is clutter, if there is something clearer beside it
MIN_EXPLAINED = 0.5  # share of a path's variance that a motion must explain
MAX_WANDER = 0.04  # root mean square, in frame sides, by which a still thing may stray
MIN_SPANS = {"across": 0.08, "grow": 0.4, "bounce": 0.06, "orbit": 0.03}
"""Smaller motions count as still: in frame sides (orbit: its radius), for ``grow`` in the log ratio of the radii."""


@dataclass(frozen=True)
class Sight:
    """One thing as it was read; None means that this world has no word for it."""

    size: str
    color: str
    shape: str | None
    motion: str | None


@dataclass(frozen=True)
class Reading:
    """Contents of a clip: at most two things, more colour first, and the background, None if it is not plain."""

    things: tuple[Sight, ...]
    background: str | None


def read(frames: Tensor) -> Reading:
    """Read one native clip.

    Args:
        frames: ``[17, 3, S, S]``, float in [0, 1] or uint8; ``S`` is a multiple of 64.

    Raises:
        UsageError: the shape or the dtype differs, or a value is NaN or infinite.
    """
    frames = _prepare(frames)
    if len(frames) != NATIVE_FRAMES:
        raise UsageError(
            f"a reading needs {NATIVE_FRAMES} frames, not {len(frames)}; use read_windows for a longer clip"
        )
    return _read(frames)


def read_windows(frames: Tensor, stride: int = NATIVE_FRAMES - 1) -> list[Reading]:
    """Read every whole window of 17 frames, ``stride`` frames apart, of a clip ``[T >= 17, 3, S, S]``.

    With the default stride neighbours share one frame, so that a clip of ``1 + 16 n`` frames is read to its end.
    Frames after the last whole window are not read.

    Raises:
        UsageError: as ``read``, or the clip is shorter than one window, or ``stride`` is less than 1.
    """
    frames = _prepare(frames)
    if len(frames) < NATIVE_FRAMES or stride < 1:
        raise UsageError(
            f"{len(frames)} frames with a stride of {stride} contain no window: at least {NATIVE_FRAMES} frames and a "
            "stride of at least 1 are needed"
        )
    return [_read(frames[i : i + NATIVE_FRAMES]) for i in range(0, len(frames) - NATIVE_FRAMES + 1, stride)]


def score(reading: Reading, scene: Scene) -> dict[str, bool]:
    """Return which attributes of ``scene`` a reading shows.

    The keys are ``color, shape, size, motion, background`` and ``joint``, which is all of them except size. With two
    things an attribute is right only if it is right for both; read things are matched to requested ones by colour
    first. Everything is wrong for a missing thing; an additional thing makes the colours wrong.
    """
    right = dict.fromkeys(ATTRIBUTES, False)
    if len(reading.things) >= len(scene.things):
        orders = permutations(reading.things, len(scene.things))
        right |= _compare(max(orders, key=lambda order: _likeness(order, scene.things)), scene.things)
        right["color"] &= len(reading.things) == len(scene.things)
    right["background"] = reading.background == scene.background
    return right | {"joint": all(right[name] for name in ATTRIBUTES if name != "size")}


def _compare(things: tuple[Sight, ...], asked: tuple[Thing, ...]) -> dict[str, bool]:
    pairs = list(zip(things, asked, strict=True))
    return {
        name: all(getattr(a, name) == getattr(b, name) for a, b in pairs)
        for name in ("color", "shape", "size", "motion")
    }


def _likeness(things: tuple[Sight, ...], asked: tuple[Thing, ...]) -> tuple[int, int]:
    """Return how many colours agree, and then how many attributes."""
    colors = sum(a.color == b.color for a, b in zip(things, asked, strict=True))
    return colors, sum(_compare(things, asked).values())


def _prepare(frames: Tensor) -> Tensor:
    """Check a clip and convert it to floats at the native side."""
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.shape[2] != frames.shape[3] or frames.shape[2] % NATIVE_SIDE:
        raise UsageError(
            f"frames of shape {list(frames.shape)} cannot be read: the shape must be [T, 3, S, S] with S a multiple of "
            f"{NATIVE_SIDE}"
        )
    if frames.dtype == torch.uint8:
        frames = frames / 255
    if not frames.is_floating_point() or not torch.isfinite(frames).all():
        raise UsageError(
            f"frames must be uint8, or finite floats in [0, 1]; these are {frames.dtype} or contain NaN or infinity"
        )
    factor = frames.shape[-1] // NATIVE_SIDE
    return torch.nn.functional.avg_pool2d(frames.detach().float().cpu(), factor)


def _read(frames: Tensor) -> Reading:
    found = [(figure, outline(figure)) for figure in figures(frames)]
    clear = [(figure, seen) for figure, seen in found if seen.likeness >= MAX_CLUTTER]
    return Reading(tuple(_sight(figure, seen) for figure, seen in clear or found), background_name(frames))


def _sight(figure: Figure, seen: Outline) -> Sight:
    path = figure.path
    radius = float(path.radius[path.seen > 0].mean()) * (pi / AREAS[seen.shape]) ** 0.5
    size = min(SIZES, key=lambda name: abs(log(radius / SIZES[name])))
    shape = seen.shape if seen.likeness >= MIN_LIKENESS else None
    return Sight(size, figure.color, shape, _motion(path, seen.turn))


# --- motions: the world's own tracks, fitted to a path with minimum squared error ---


@dataclass(frozen=True)
class _Fit:
    """A motion fitted to a path: ``rest`` is the remaining squared error, ``span`` the extent of the motion."""

    motion: str
    rest: float
    span: float


def _motion(path: Path, turn: float) -> str | None:
    """Return the motion whose track fits best; None if even that explains too little."""
    when = path.seen > 0
    time = (torch.arange(len(when)) / (NATIVE_FRAMES - 1))[when].double()
    x, y, r = (signal[when].double() for signal in (path.x, path.y, path.radius))
    total = sum(_solve(signal)[0] for signal in (x, y, r))
    fits = [fit for make in FITS for fit in make(time, x, y, r)]
    best = min(fits, key=lambda fit: fit.rest)
    if best.span < MIN_SPANS.get(best.motion, MIN_SPANS["across"]):
        strays = (total / len(x)) ** 0.5 > MAX_WANDER
        return None if strays else "spin" if turn else "still"
    return best.motion if best.rest < (1 - MIN_EXPLAINED) * total else None


def _solve(signal: Tensor, *columns: Tensor) -> tuple[float, list[float]]:
    """Fit a signal by a constant and ``columns``; return the squared error and the weights of ``columns``."""
    basis = torch.stack([torch.ones_like(signal), *columns], 1)
    weights = torch.linalg.lstsq(basis, signal[:, None]).solution
    return float((signal[:, None] - basis @ weights).square().sum()), weights[1:, 0].tolist()


def _across(time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    (rest_x, [dx]), (rest_y, [dy]) = _solve(x, time), _solve(y, time)
    fixed_x, fixed_y, fixed_r = (_solve(signal)[0] for signal in (x, y, r))
    return [
        _Fit("right" if dx > 0 else "left", rest_x + fixed_y + fixed_r, abs(dx)),
        _Fit("down" if dy > 0 else "up", rest_y + fixed_x + fixed_r, abs(dy)),
    ]


def _grow(time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    rest, [slope] = _solve(r, time)
    middle = float(r.mean())
    span = abs(log(max(middle + slope / 2, 1e-3) / max(middle - slope / 2, 1e-3)))
    return [_Fit("grow" if slope > 0 else "shrink", rest + _solve(x)[0] + _solve(y)[0], span)]


def _bounce(time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    others = _solve(x)[0] + _solve(r)[0]
    found = []
    for phase in torch.arange(16) * pi / 16:
        rest, [height] = _solve(y, -(2 * pi * time + phase).sin().abs())
        found.append(_Fit("bounce", rest + others, max(height, 0.0)))
    return [min(found, key=lambda fit: fit.rest)]


def _orbit(time: Tensor, x: Tensor, y: Tensor, r: Tensor) -> list[_Fit]:
    """Fit a circle at an even pace, in either direction, from any point on it."""
    others = _solve(r)[0]
    found = []
    for way in (-1, 1):
        c, s = (2 * pi * time).cos(), way * (2 * pi * time).sin()
        ones, none = torch.ones_like(c), torch.zeros_like(c)
        # x = a c - b s and y = a s + b c share a and b, so both are solved at once; the last column is y's own constant
        rest, [a, b, _] = _solve(torch.cat([x, y]), torch.cat([c, s]), torch.cat([-s, c]), torch.cat([none, ones]))
        found.append(_Fit("orbit", rest + others, (a * a + b * b) ** 0.5))
    return [min(found, key=lambda fit: fit.rest)]


FITS: tuple[Callable[[Tensor, Tensor, Tensor, Tensor], list[_Fit]], ...] = (_across, _grow, _bounce, _orbit)
