"""The oracle: reads which scene of the tiny world a clip shows, by classical measurements without learned weights.

``read`` names what one native clip shows, ``read_windows`` what each window of a longer one shows, and ``score``
compares a reading with the requested scene. Nothing is forced: a shape or motion that fits nothing is read as None.
"""

from dataclasses import dataclass
from itertools import permutations
from math import log, pi

import torch
from torch import Tensor

from genkit.errors import UsageError
from genkit.tiny.motions import PACKAGED, World
from genkit.tiny.sight.fits import name_motion
from genkit.tiny.sight.pixels import AREAS, Figure, Outline, background_name, figures, outline
from genkit.tiny.world import NATIVE_SIDE, SIZES, Look, Scene, Thing

ATTRIBUTES = ("color", "shape", "size", "motion", "background")

MIN_LIKENESS = 0.8  # mean correlation with its template that a shape needs to be named
MAX_CLUTTER = 0.4  # anything less similar to every shape is clutter, if there is something clearer beside it


@dataclass(frozen=True)
class Sight:
    """One thing as it was read; None means that this world has no word for it."""

    size: str
    color: str
    shape: str | None
    motion: str | None
    then: Look | None = None
    """What it turns into, if it does; see ``genkit.tiny.events``."""


@dataclass(frozen=True)
class Reading:
    """Contents of a clip: at most two things, more colour first, and the background, None if it is not plain."""

    things: tuple[Sight, ...]
    background: str | None


def read(frames: Tensor, world: World = PACKAGED) -> Reading:
    """Read one native clip.

    Args:
        frames: ``[T, 3, S, S]``, float in [0, 1] or uint8; ``T`` is the world's native length, or at least its
            ``min_frames``; ``S`` is a multiple of 64.
        world: rules by which the clip moves.

    Raises:
        UsageError: the shape or the dtype differs, or a value is NaN or infinite.
    """
    frames = prepare(frames)
    if not world.min_frames <= len(frames) <= world.native_frames:
        raise UsageError(
            f"a reading needs {_lengths(world)} frames, not {len(frames)}; use read_windows for a longer clip"
        )
    return read_prepared(frames, world)


def _lengths(world: World) -> str:
    few, many = world.min_frames, world.native_frames
    return f"{many}" if few == many else f"{few} to {many}"


def read_windows(frames: Tensor, stride: int | None = None, world: World = PACKAGED) -> list[Reading]:
    """Read every whole window of native length, ``stride`` frames apart, of a clip ``[T >= window, 3, S, S]``.

    With None neighbours share one frame, so that a clip of ``1 + n (window - 1)`` frames is read to its end. Frames
    after the last whole window are not read.

    Raises:
        UsageError: as ``read``, or the clip is shorter than one window, or ``stride`` is less than 1.
    """
    frames, window = prepare(frames), world.native_frames
    stride = window - 1 if stride is None else stride
    if len(frames) < window or stride < 1:
        raise UsageError(
            f"{len(frames)} frames with a stride of {stride} contain no window: at least {window} frames and a "
            "stride of at least 1 are needed"
        )
    return [read_prepared(frames[i : i + window], world) for i in range(0, len(frames) - window + 1, stride)]


def score(reading: Reading, scene: Scene) -> dict[str, bool]:
    """Return which attributes of ``scene`` a reading shows.

    The keys are ``color, shape, size, motion, background`` and ``joint``, which is all of them except size. With two
    things an attribute is right only if it is right for both; read things are matched to requested ones by colour
    first. Everything is wrong for a missing thing; an additional thing makes the colours wrong. Where a thing turns
    into another, colour and shape are right only if they are right before and after.
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
        name: all(_values(a, name) == _values(b, name) for a, b in pairs)
        for name in ("color", "shape", "size", "motion")
    }


def _values(thing: Sight | Thing, name: str) -> list[str | None]:
    """Return one attribute of each look of a thing."""
    return [getattr(part, name) for part in (thing, thing.then) if part is not None and hasattr(part, name)]


def _likeness(things: tuple[Sight, ...], asked: tuple[Thing, ...]) -> tuple[int, int]:
    """Return how many colours agree, and then how many attributes."""
    colors = sum(a.color == b.color for a, b in zip(things, asked, strict=True))
    return colors, sum(_compare(things, asked).values())


def prepare(frames: Tensor) -> Tensor:
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


def read_prepared(frames: Tensor, world: World) -> Reading:
    """Read a window that ``prepare`` returned."""
    things = clear_figures(frames)
    return Reading(tuple(sight(figure, seen, world) for figure, seen in things), background_name(frames))


def clear_figures(frames: Tensor) -> list[tuple[Figure, Outline]]:
    """Return the things in a prepared clip and their outlines, without clutter if there is something clearer."""
    found = [(figure, outline(figure)) for figure in figures(frames)]
    return [(figure, seen) for figure, seen in found if seen.likeness >= MAX_CLUTTER] or found


def sight(figure: Figure, seen: Outline, world: World) -> Sight:
    """Name everything about a figure."""
    path = figure.path
    return Sight(name_size(figure, seen), figure.color, name_shape(seen), name_motion(path, seen.turn, world))


def name_size(figure: Figure, seen: Outline) -> str:
    """Return the size that is nearest to a figure's mean radius."""
    path = figure.path
    radius = float(path.radius[path.seen > 0].mean()) * (pi / AREAS[seen.shape]) ** 0.5
    return min(SIZES, key=lambda name: abs(log(radius / SIZES[name])))


def name_shape(seen: Outline) -> str | None:
    """Return the shape of an outline; None if it is similar to nothing of this world."""
    return seen.shape if seen.likeness >= MIN_LIKENESS else None
