"""How things move: each world as data, by which clips are drawn and by which the oracle reads them.

Time is in seconds, lengths are fractions of the frame's side, angles radians. World 1 is the one that the packaged
weights were trained on: what moves left, right, up or down, grows or shrinks does so once, in two seconds. In World 2
every motion goes on: a thing moves slowly the way that its verb says and returns three times as fast, again and again;
a clip may begin at any moment of this, so that no place in a long video differs from another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

FPS = 8
"""Pixel frames per second."""
SPIN_SECONDS = 2.0
"""Duration of half a revolution of what spins."""
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
HOMES = {1: [(0.5, 0.5)], 2: [(0.31, 0.31), (0.69, 0.69)]}
"""Resting places of one thing and of two, in frame sides."""
REACH = {1: 0.22, 2: 0.13}
"""Distance that a thing moves to either side of its home: alone, and beside another."""
JITTER = 0.03  # maximum offset of a home
PULSE = 0.35  # share of its radius by which a thing grows and shrinks
SLOW = 0.75  # share of a sweep that goes the way of the verb; the rest is the return


def _once(phase: Tensor) -> Tensor:
    """Return the way from -1 at phase 0 to 1 at phase 1, and on beyond."""
    return 2 * phase - 1


def _again(phase: Tensor) -> Tensor:
    """Return the way from -1 slowly to 1 and fast back, with period 1."""
    phase = phase % 1.0
    return torch.where(phase < SLOW, 2 * phase / SLOW - 1, 1 - 2 * (phase - SLOW) / (1 - SLOW))


@dataclass(frozen=True, kw_only=True)
class World:
    """Rules of motion, and the length of the clips on which a model of this world is trained."""

    version: int
    """Number by which the weights name their world."""
    native_frames: int
    """Pixel frames of a native clip."""
    min_frames: int
    """Minimum number of pixel frames in which the oracle can read a motion."""
    sweep: Callable[[Tensor], Tensor]
    """Place in [-1, 1] along the way of a verb, from the phase in sweeps."""
    sweep_seconds: float
    """Duration of one sweep: left, right, up, down, grow, shrink."""
    bounce_seconds: float
    """Duration of one bounce."""
    orbit_seconds: float
    """Duration of one revolution around the home."""
    endless: bool
    """True if motions go on, and a clip begins at any moment of them."""
    paces: tuple[float, ...] = (1.0,)
    """Paces that the oracle tries, relative to the world's own."""

    @property
    def max_phase(self) -> float:
        """Maximum offset of a phase at the beginning of a clip, either way, in radians."""
        return pi if self.endless else 0.35

    def sweeps(self, time: Tensor) -> Tensor:
        """Return every sweep ``[K, T]`` that the oracle tries, at times ``[T]``."""
        starts = torch.arange(24) / 24 if self.endless else torch.zeros(1)
        return self.sweep(self._phases(time, self.sweep_seconds, starts))

    def bounces(self, time: Tensor) -> Tensor:
        """Return the height ``[K, T]`` of every bounce that the oracle tries, at times ``[T]``."""
        return (pi * self._phases(time, self.bounce_seconds, torch.arange(16) / 16)).sin().abs()

    def _phases(self, time: Tensor, period: float, starts: Tensor) -> Tensor:
        paces = torch.tensor(self.paces)
        return (paces[:, None, None] * time / period + starts[:, None]).flatten(0, 1)


WORLDS = {
    1: World(
        version=1,
        native_frames=17,
        min_frames=17,
        sweep=_once,
        sweep_seconds=2.0,
        bounce_seconds=1.0,
        orbit_seconds=2.0,
        endless=False,
    ),
    2: World(
        version=2,
        native_frames=33,
        min_frames=16,
        sweep=_again,
        sweep_seconds=3.0,
        bounce_seconds=1.5,
        orbit_seconds=3.0,
        endless=True,
        paces=(0.85, 1.0, 1.15),
    ),
}
UNET_FRAMES = 16
"""Native length of ``tiny-unet``, in pixel frames."""
PACKAGED = WORLDS[1]
"""World of the weights inside the package."""


@dataclass(frozen=True)
class Track:
    """Position of one thing in each frame: centre ``x, y`` and ``radius`` (frame sides), ``angle``; each ``[T]``.

    ``change`` is the first frame of its second look, ``T`` if there is none.
    """

    x: Tensor
    y: Tensor
    radius: Tensor
    angle: Tensor
    change: int


def draw_track(
    world: World, motion: str, radius: float, neighbours: tuple[int, int], num_frames: int, generator: torch.Generator
) -> Track:
    """Draw the free choices of one thing (place, pace, phase, moment of change) and return all positions.

    ``neighbours`` are the number of things in the scene and the rank of this one.
    """
    jitter = (torch.rand(5, generator=generator) * 2 - 1).tolist()
    count, rank = neighbours
    home_x, home_y = HOMES[count][rank]
    time = torch.arange(num_frames) / FPS
    x, y, scale, angle = _course(world, motion, time, REACH[count] * (1 + 0.1 * jitter[2]), jitter[3])
    radius *= 1 + 0.05 * jitter[4]
    return Track(home_x + x + JITTER * jitter[0], home_y + y + JITTER * jitter[1], radius * scale, angle, num_frames)


def _course(
    world: World, motion: str, time: Tensor, reach: float, start: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return offset ``x, y``, scale and angle of a motion; ``start`` in [-1, 1] chooses its phase at time 0."""
    phase = world.max_phase * start
    sweep = world.sweep(time / world.sweep_seconds + (start / 2 if world.endless else 0.0))
    x = y = angle = torch.zeros_like(time)
    scale = torch.ones_like(time)
    match motion:
        case "left" | "right":
            x = reach * sweep * (1 if motion == "right" else -1)
        case "up" | "down":
            y = reach * sweep * (1 if motion == "down" else -1)
        case "grow" | "shrink":
            scale = 1 + PULSE * sweep.clamp(-1, 1) * (1 if motion == "grow" else -1)
        case "spin":
            angle = pi * time / SPIN_SECONDS + phase
        case "bounce":
            y = reach * (0.8 - 1.6 * (pi * time / world.bounce_seconds + phase).sin().abs())
        case "orbit":
            turn = 2 * pi * time / world.orbit_seconds + phase
            x, y = 0.85 * reach * turn.sin(), -0.85 * reach * turn.cos()
    return x, y, scale, angle
