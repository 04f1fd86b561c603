"""A procedural world of coloured moving shapes: the training data of the embedded model, exact by construction.

Lengths are fractions of the frame's side. Rules that keep every caption decidable:

- circles and rings never spin, because it would be invisible;
- with two things, both are small or medium, their colours differ, and the one named first is above and left of the
  other;
- a thing that turns into another is alone, and its colour changes, so that the moment can be seen.

The look and motion of a thing depend only on its own words and its home, so that what is learned of one is true of all.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from genkit.tiny.motions import MOTIONS, PACKAGED, WORLDS, Track, World, draw_track
from genkit.tiny.shapes import ROUND, SHAPES, coverage

NATIVE_FRAMES = PACKAGED.native_frames
NATIVE_SIDE = 64

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
EVENT = (0.25, 0.75)
"""Earliest and latest moment at which a thing turns into another, as shares of a clip."""


@dataclass(frozen=True)
class Look:
    """Colour and shape of a thing; both are words of this module's tables."""

    color: str
    shape: str


@dataclass(frozen=True)
class Thing:
    """One moving shape; every field is a word of this module's tables. ``then`` is what it turns into, or None."""

    size: str
    color: str
    shape: str
    motion: str
    then: Look | None = None

    @property
    def looks(self) -> tuple[Look, ...]:
        """Colours and shapes of the thing, in order."""
        first = Look(self.color, self.shape)
        return (first,) if self.then is None else (first, self.then)

    @property
    def held_out(self) -> bool:
        """True if its first look and motion together never occur in training (about one in ten)."""
        return _is_held_out(self.looks[0], self.motion)


def _is_held_out(look: Look, motion: str) -> bool:
    return zlib.crc32(f"{look.color} {look.shape} {motion}".encode()) % 10 == 0


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
    event = f", then turns into {_article(thing.then.color)} {thing.then.shape}" if thing.then else ""
    return f"{_article(words)} {thing.shape} {MOTIONS[thing.motion]}{event}"


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


_LOOK = rf"({'|'.join(COLORS)}) ({'|'.join(SHAPES)})"
_THING = re.compile(
    rf"(?:({'|'.join(SIZES)}) )?{_LOOK} ({'|'.join(MOTIONS.values())})(?: then turns into an? {_LOOK})?"
)
_BACKGROUND = re.compile(rf"on an? ({'|'.join(BACKGROUNDS)}) background")


def _words(text: str) -> str:
    return " ".join(text.lower().replace(",", " ").split())


def parse(text: str) -> Scene:
    """Read a caption back; a size that is not named becomes ``"medium"``.

    Raises:
        ValueError: the text is not a sentence of this world.
    """
    words = _words(text)
    place, found = _BACKGROUND.search(words), _THING.findall(words)
    if place is None or not 1 <= len(found) <= 2:
        raise ValueError(f"{text!r} is not a sentence of the tiny world; an example is {caption(EXAMPLE)!r}")
    verbs = {words: motion for motion, words in MOTIONS.items()}
    things = (
        Thing(size or "medium", color, shape, verbs[verb], Look(*then) if then[0] else None)
        for size, color, shape, verb, *then in found
    )
    return Scene(tuple(things), place[1])


class Mention(NamedTuple):
    """Words of a caption that speak of one look of one thing."""

    begin: int
    """Index of the first word."""
    end: int
    """Index after the last word."""
    with_size: bool
    """True if the size is named."""
    thing: int
    """Rank of the thing in the caption."""
    look: int
    """0 for its first look, 1 for what it turns into."""


def find_mentions(text: str) -> list[Mention]:
    """Return where a caption names its things and what they turn into."""
    words = _words(text)
    count = lambda position: words[:position].count(" ")  # noqa: E731
    found: list[Mention] = []
    for rank, match in enumerate(_THING.finditer(words)):
        sized = match[1] is not None
        found.append(Mention(count(match.start()), count(match.end(4)) + 1, sized, rank, 0))
        if match[5]:
            found.append(Mention(count(match.start(5)), count(match.end(6)) + 1, sized, rank, 1))
    return found


EXAMPLE = Scene((Thing("large", "red", "circle", "right"),), "navy")


def vocabulary(world: World = PACKAGED) -> list[str]:
    """Return every word that a caption of a world can contain: those of World 1 sorted, then those of events."""
    phrases = [*SHAPES, *SIZES, *COLORS, *BACKGROUNDS, *MOTIONS.values(), "a an and on background"]
    words = sorted({word for phrase in phrases for word in phrase.split()})
    return words if world is WORLDS[1] else [*words, "then", "turns", "into"]


def draw_scene(generator: torch.Generator, *, things: int, held_out: bool, event: bool = False) -> Scene:
    """Draw a random scene of ``things`` (1 or 2) things, all of them held out or none.

    With ``event`` the only thing turns into another, and both looks are held out or neither.
    """
    pick = lambda words: words[int(torch.randint(len(words), (1,), generator=generator))]  # noqa: E731
    sizes = list(SIZES) if things == 1 else list(SIZES)[:2]
    found: list[Thing] = []
    while len(found) < things:
        thing = Thing(pick(sizes), pick(list(COLORS)), pick(SHAPES), pick(list(MOTIONS)))
        if event:
            thing = replace(thing, then=Look(pick(list(COLORS)), pick(SHAPES)))
        fresh = all(thing.color != other.color for other in found)
        if fresh and _is_drawn(thing, held_out):
            found.append(thing)
    return Scene(tuple(found), pick(list(BACKGROUNDS)))


def _is_drawn(thing: Thing, held_out: bool) -> bool:
    visible = not (thing.motion == "spin" and any(look.shape in ROUND for look in thing.looks))
    changes = len({look.color for look in thing.looks}) == len(thing.looks)
    return visible and changes and all(_is_held_out(look, thing.motion) == held_out for look in thing.looks)


def tracks(scene: Scene, num_frames: int, generator: torch.Generator, world: World = PACKAGED) -> list[Track]:
    """Draw the free choices of a scene (place, pace, phase, moment of an event) and return all positions."""
    found = []
    for rank, thing in enumerate(scene.things):
        place = (len(scene.things), rank)
        track = draw_track(world, thing.motion, SIZES[thing.size], place, num_frames, generator)
        if thing.then is not None:
            share = EVENT[0] + (EVENT[1] - EVENT[0]) * float(torch.rand(1, generator=generator))
            track = replace(track, change=round(share * num_frames))
        found.append(track)
    return found


def render(
    scenes: Sequence[Scene], generator: torch.Generator, *, num_frames: int, side: int, world: World = PACKAGED
) -> Tensor:
    """Render scenes as clips ``[B, T, 3, side, side]``, float32 in [0, 1]; later things cover earlier ones."""
    clips = torch.tensor([BACKGROUNDS[s.background] for s in scenes])[:, None, :, None, None]
    clips = clips.repeat(1, num_frames, 1, side, side)
    for clip, scene in zip(clips, scenes, strict=True):
        for thing, track in zip(scene.things, tracks(scene, num_frames, generator, world), strict=True):
            _paint(clip, thing, track)
    return clips


def _paint(clip: Tensor, thing: Thing, track: Track) -> None:
    """Paint one thing over a clip ``[T, 3, side, side]``, each look in its frames."""
    bounds = (0, track.change, len(clip))
    for i, look in enumerate(thing.looks):
        part = slice(bounds[i], bounds[i + 1])
        alpha = coverage(
            look.shape, track.x[part], track.y[part], track.radius[part], track.angle[part], clip.shape[-1]
        )[:, None]
        color = torch.tensor(COLORS[look.color])[:, None, None]
        clip[part].lerp_(color.expand_as(clip[part]), alpha.expand_as(clip[part]))
