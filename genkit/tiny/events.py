"""The oracle of events: finds when the only thing of a clip turns into another, and reads it before and after."""

from math import pi

import torch
from torch import Tensor

from genkit.tiny.motions import PACKAGED, World
from genkit.tiny.oracle import Reading, Sight, clear_figures, name_shape, name_size, prepare, read, read_windows, score
from genkit.tiny.sight.fits import name_motion
from genkit.tiny.sight.pixels import AREAS, Figure, Outline, Path, background_name, color_shares
from genkit.tiny.world import Look, Scene

MIN_PART = 4
"""Minimum number of pixel frames before and after an event."""
MIN_GAIN = 2.0
"""Minimum number of frames whose colours an event must explain better than none does."""

Seen = tuple[Figure, Outline]


def answers(frames: Tensor, scene: Scene, world: World = PACKAGED) -> list[dict[str, bool]]:
    """Return which attributes of ``scene`` a clip ``[T, 3, S, S]`` shows, once for each window of native length.

    A scene with an event has one answer: that of the window around the event, or the first one if none is found.

    Raises:
        UsageError: as ``read_windows``; a clip shorter than one window is read whole, as ``read`` does.
    """
    if any(thing.then is not None for thing in scene.things):
        return [score(read_event(frames, world), scene)]
    if len(frames) < world.native_frames:
        return [score(read(frames, world), scene)]
    return [score(reading, scene) for reading in read_windows(frames, world=world)]


def read_event(frames: Tensor, world: World = PACKAGED) -> Reading:
    """Read a clip ``[T, 3, S, S]`` of any length from ``world.min_frames`` whose only thing turns into another.

    Without a visible event the first window is read as ``read`` does.
    """
    clip, window = prepare(frames), world.native_frames
    moment = find_event(clip)
    if moment is None:
        return read(frames[:window], world)
    begin = max(0, min(moment - window // 2, len(clip) - window))
    part, moment = clip[begin : begin + window], moment - begin
    before, after = clear_figures(part[:moment]), clear_figures(part[moment:])
    background = background_name(part)
    if not before or not after:
        return Reading((), background)
    first = _join(before[0], after[0], world)
    others = tuple(Sight("medium", figure.color, None, None) for figure, _ in (*before[1:], *after[1:]))
    return Reading((first, *others), background)


def find_event(frames: Tensor) -> int | None:
    """Return the first frame of a second colour in a prepared clip; None if one colour explains all frames as well."""
    shares = color_shares(frames)
    total = shares.sum(0)
    before = torch.cat([torch.zeros_like(shares[:1]), shares.cumsum(0)])[MIN_PART : len(frames) - MIN_PART + 1]
    pairs = before[:, :, None] + (total - before)[:, None, :]
    pairs.diagonal(dim1=1, dim2=2).fill_(0.0)
    explained = pairs.flatten(1).amax(1)
    if not len(explained) or explained.max() < total.max() + MIN_GAIN:
        return None
    return int(explained.argmax()) + MIN_PART


def _join(before: Seen, after: Seen, world: World) -> Sight:
    """Read two figures as one thing: looks of their own, the motion of their joint path."""
    paths = [_full_size(*seen) for seen in (before, after)]
    path = Path(*(torch.cat([getattr(part, name) for part in paths]) for name in ("x", "y", "radius", "seen")))
    longer = max((before, after), key=lambda seen: len(seen[0].mask))
    motion = name_motion(path, longer[1].turn, world)
    shapes = [name_shape(seen[1]) for seen in (before, after)]
    then = Look(after[0].color, shapes[1] or "none")
    return Sight(name_size(*longer), before[0].color, shapes[0], motion, then)


def _full_size(figure: Figure, seen: Outline) -> Path:
    """Return a figure's path with the radius of its shape, which two looks of a thing have in common."""
    path = figure.path
    return Path(path.x, path.y, path.radius * (pi / AREAS[seen.shape]) ** 0.5, path.seen)
