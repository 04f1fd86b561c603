"""A procedural world of coloured moving shapes: the training data of the embedded model, exact by construction.

Lengths are fractions of the frame's side, angles radians, time one native clip (``NATIVE_FRAMES`` pixel frames).
Rules that keep every caption decidable:

- circles and rings never spin, because it would be invisible;
- with two things, both are small or medium, their colours differ, and the one named first is above and left of the
  other.

The look and motion of a thing depend only on its own words and its home, so that what is learned of one is true of all.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import torch
from torch import Tensor

NATIVE_FRAMES = 17
NATIVE_SIDE = 64

SHAPES = ("circle", "square", "triangle", "ring", "cross", "star")
SIZES = {"small": 0.12, "medium": 0.165, "large": 0.24}
COLORS = {
    "red": (0.88, 0.10, 0.12),
    "green": (0.12, 0.68, 0.22),
    "blue": (0.12, 0.36, 0.96),
    "yellow": (0.98, 0.86, 0.10),
    "orange": (0.98, 0.52, 0.06),
    "purple": (0.56, 0.16, 0.72),
    "pink": (0.98, 0.48, 0.72),
    "cyan": (0.10, 0.82, 0.88),
}
BACKGROUNDS = {
    "white": (0.96, 0.96, 0.96),
    "black": (0.04, 0.04, 0.04),
    "gray": (0.46, 0.46, 0.46),
    "navy": (0.05, 0.08, 0.30),
    "beige": (0.88, 0.80, 0.64),
    "brown": (0.36, 0.22, 0.12),
}
MOTIONS = {
    "left": "moves left",
    "right": "moves right",
    "up": "moves up",
    "down": "moves down",
    "grow": "grows",
    "shrink": "shrinks",
    "spin": "spins",
    "bounce": "bounces",
    "orbit": "circles around",
    "still": "stays still",
}
ROUND = ("circle", "ring")
EDGE_PIXELS = 1.5  # width of the anti-aliased edge
HOMES = {1: [(0.5, 0.5)], 2: [(0.31, 0.31), (0.69, 0.69)]}
"""Resting places of one thing and of two, in frame sides."""
REACH = {1: 0.22, 2: 0.13}
"""Distance that a thing moves to either side of its home: alone, and beside another."""
JITTER = 0.03  # maximum offset of a home


@dataclass(frozen=True)
class Thing:
    """One moving shape; every field is a word of this module's tables."""

    size: str
    color: str
    shape: str
    motion: str

    @property
    def held_out(self) -> bool:
        """True if this colour, shape and motion together never occur in training (about one in ten)."""
        return zlib.crc32(f"{self.color} {self.shape} {self.motion}".encode()) % 10 == 0


@dataclass(frozen=True)
class Scene:
    """One or two things on a plain background."""

    things: tuple[Thing, ...]
    background: str


def caption(scene: Scene, *, sizes: bool = True, background_last: bool = True) -> str:
    """Return a scene in words, e.g. ``"a small red star spins on a navy background"``."""
    things = [_say(thing, sizes) for thing in scene.things]
    place = f" on a {scene.background} background"
    if background_last or len(things) == 1:
        return " and ".join(things) + place
    return f"{things[0]}{place} and {things[1]}"


def _say(thing: Thing, with_size: bool) -> str:
    words = f"{thing.size} {thing.color}" if with_size else thing.color
    article = "an" if words[0] in "aeiou" else "a"
    return f"{article} {words} {thing.shape} {MOTIONS[thing.motion]}"


_THING = re.compile(
    rf"(?:({'|'.join(SIZES)}) )?({'|'.join(COLORS)}) ({'|'.join(SHAPES)}) ({'|'.join(MOTIONS.values())})"
)
_BACKGROUND = re.compile(rf"on an? ({'|'.join(BACKGROUNDS)}) background")


def parse(text: str) -> Scene:
    """Read a caption back; a size that is not named becomes ``"medium"``.

    Raises:
        ValueError: the text is not a sentence of this world.
    """
    words = " ".join(text.lower().split())
    place, found = _BACKGROUND.search(words), _THING.findall(words)
    if place is None or not 1 <= len(found) <= 2:
        raise ValueError(f"{text!r} is not a sentence of the tiny world; an example is {caption(EXAMPLE)!r}")
    verbs = {words: motion for motion, words in MOTIONS.items()}
    things = (Thing(size or "medium", color, shape, verbs[verb]) for size, color, shape, verb in found)
    return Scene(tuple(things), place[1])


def find_things(text: str) -> list[tuple[int, int, bool]]:
    """Return where a caption names its things: first word, word after the last, and whether the size is named."""
    words = " ".join(text.lower().split())
    return [
        (words[: match.start()].count(" "), words[: match.end()].count(" ") + 1, match[1] is not None)
        for match in _THING.finditer(words)
    ]


EXAMPLE = Scene((Thing("large", "red", "circle", "right"),), "navy")


def vocabulary() -> list[str]:
    """Return every word that a caption can contain, sorted."""
    phrases = [*SHAPES, *SIZES, *COLORS, *BACKGROUNDS, *MOTIONS.values(), "a an and on background"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def draw_scene(generator: torch.Generator, *, things: int, held_out: bool) -> Scene:
    """Draw a random scene of ``things`` (1 or 2) things, all of them held out or none."""
    pick = lambda words: words[int(torch.randint(len(words), (1,), generator=generator))]  # noqa: E731
    sizes = list(SIZES) if things == 1 else list(SIZES)[:2]
    found: list[Thing] = []
    while len(found) < things:
        thing = Thing(pick(sizes), pick(list(COLORS)), pick(SHAPES), pick(list(MOTIONS)))
        visible = not (thing.motion == "spin" and thing.shape in ROUND)
        fresh = all(thing.color != other.color for other in found)
        if visible and fresh and thing.held_out == held_out:
            found.append(thing)
    return Scene(tuple(found), pick(list(BACKGROUNDS)))


# --- geometry: signed distances in units of the thing's radius, negative inside ---


def _polygon(corners: Sequence[tuple[float, float]]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the signed distance to a polygon with corners in order (Quilez, "distance functions", 2D polygon)."""

    def distance(u: Tensor, v: Tensor) -> Tensor:
        nearest, inside = torch.full_like(u, 1e9), torch.zeros_like(u, dtype=torch.bool)
        for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
            ex, ey, wx, wy = bx - ax, by - ay, u - ax, v - ay
            along = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
            nearest = torch.minimum(nearest, (wx - ex * along).square() + (wy - ey * along).square())
            if ey:
                crosses = (wy >= 0) ^ (v - by >= 0)
                inside = inside ^ (crosses & ((wx - wy * (ex / ey)) < 0))
        return torch.where(inside, -nearest.sqrt(), nearest.sqrt())

    return distance


def _around(count: int, *radii: float) -> list[tuple[float, float]]:
    turn = 2 * pi / (count * len(radii))
    every = [radii[i % len(radii)] for i in range(count * len(radii))]
    return [(r * sin(i * turn), -r * cos(i * turn)) for i, r in enumerate(every)]


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.minimum(torch.maximum(u - 1.0, v - 0.34), torch.maximum(v - 1.0, u - 0.34))


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda u, v: (u.square() + v.square()).sqrt() - 0.98,
    "square": lambda u, v: torch.maximum(u.abs(), v.abs()) - 0.84,
    "triangle": _polygon(_around(3, 1.2)),
    "ring": lambda u, v: ((u.square() + v.square()).sqrt() - 0.78).abs() - 0.24,
    "cross": _cross,
    "star": _polygon(_around(5, 1.18, 0.5)),
}


@dataclass(frozen=True)
class Track:
    """Position of one thing in each frame: centre ``x, y`` and ``radius`` (frame sides), ``angle``; each ``[T]``."""

    x: Tensor
    y: Tensor
    radius: Tensor
    angle: Tensor


def tracks(scene: Scene, num_frames: int, generator: torch.Generator) -> list[Track]:
    """Draw the free choices of a scene (place, pace, phase) and return all positions."""
    homes = HOMES[len(scene.things)]
    reach = REACH[len(scene.things)]
    return [_track(thing, home, reach, num_frames, generator) for thing, home in zip(scene.things, homes, strict=True)]


def _track(thing: Thing, home: tuple[float, float], reach: float, num_frames: int, generator: torch.Generator) -> Track:
    jitter = (torch.rand(5, generator=generator) * 2 - 1).tolist()
    time = torch.arange(num_frames) / (NATIVE_FRAMES - 1)
    reach *= 1 + 0.1 * jitter[2]
    phase = 0.35 * jitter[3]
    still = torch.zeros(num_frames)
    x, y, scale, angle = still, still, still + 1, still
    match thing.motion:
        case "left" | "right":
            x = reach * (2 * time - 1) * (1 if thing.motion == "right" else -1)
        case "up" | "down":
            y = reach * (2 * time - 1) * (1 if thing.motion == "down" else -1)
        case "grow" | "shrink":
            scale = 1 + 0.35 * (2 * time - 1).clamp(-1, 1) * (1 if thing.motion == "grow" else -1)
        case "spin":
            angle = pi * time + phase
        case "bounce":
            y = reach * (0.8 - 1.6 * (2 * pi * time + phase).sin().abs())
        case "orbit":
            turn = 2 * pi * time + phase
            x, y = 0.85 * reach * turn.sin(), -0.85 * reach * turn.cos()
    radius = SIZES[thing.size] * (1 + 0.05 * jitter[4])
    return Track(home[0] + x + JITTER * jitter[0], home[1] + y + JITTER * jitter[1], radius * scale, angle)


def coverage(shape: str, x: Tensor, y: Tensor, radius: Tensor, angle: Tensor, side: int) -> Tensor:
    """Return the share of each pixel that a shape covers, in [0, 1]: inputs ``[N]``, result ``[N, side, side]``."""
    axis = (torch.arange(side) + 0.5) / side
    dx, dy = axis - x[:, None], axis - y[:, None]
    c, s, r = angle.cos()[:, None, None], angle.sin()[:, None, None], radius[:, None, None]
    u = (dx[:, None, :] * c + dy[:, :, None] * s) / r
    v = (dy[:, :, None] * c - dx[:, None, :] * s) / r
    return (0.5 - DISTANCES[shape](u, v) * r * side / EDGE_PIXELS).clamp(0, 1)


def render(scenes: Sequence[Scene], generator: torch.Generator, *, num_frames: int, side: int) -> Tensor:
    """Render scenes as clips ``[B, T, 3, side, side]``, float32 in [0, 1]; later things cover earlier ones."""
    clips = torch.tensor([BACKGROUNDS[s.background] for s in scenes])[:, None, :, None, None]
    clips = clips.repeat(1, num_frames, 1, side, side)
    for clip, scene in zip(clips, scenes, strict=True):
        for thing, track in zip(scene.things, tracks(scene, num_frames, generator), strict=True):
            alpha = coverage(thing.shape, track.x, track.y, track.radius, track.angle, side)[:, None]
            color = torch.tensor(COLORS[thing.color])[:, None, None]
            clip.lerp_(color.expand_as(clip), alpha.expand_as(clip))
    return clips
