"""Held-out prompts, and the shares of them that are right: by attribute, by kind of prompt, with intervals."""

from collections import Counter
from dataclasses import dataclass
from math import sqrt

import torch

from genkit.tiny.motions import PACKAGED, World
from genkit.tiny.oracle import Reading
from genkit.tiny.world import Scene, draw_scene

COLUMNS = ("color", "shape", "size", "motion", "background", "joint")


@dataclass(frozen=True)
class Share:
    """A share of clips and its 95 % Wilson interval, all in [0, 1]."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """One clip: its scene, the oracle's reading, and which attributes are right."""

    scene: Scene
    reading: Reading
    right: dict[str, bool]


def held_out_scenes(count: int, seed: int, world: World = PACKAGED) -> list[Scene]:
    """Return scenes that training never draws, the same for the same seed.

    They have one and two things in turn; in World 2 every third has a thing that turns into another.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds = ((1, False), (2, False), (1, True))[: 3 if world.endless else 2]
    turns = (kinds[i % len(kinds)] for i in range(count))
    return [draw_scene(generator, things=things, held_out=True, event=event) for things, event in turns]


def has_event(scene: Scene) -> bool:
    """Return whether a thing of the scene turns into another."""
    return any(thing.then is not None for thing in scene.things)


def wilson(right: int, count: int) -> Share:
    """Return share and 95 % interval; without clips 0 in [0, 1]. Source: E. B. Wilson, JASA 22 (1927)."""
    if not count:
        return Share(0.0, 0.0, 1.0)
    z, share = 1.959964, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


def summarise(results: list[Result]) -> dict[str, dict[str, Share]]:
    """Return the shares by row (``one thing``, ``two things``, ``an event`` if there is one, ``all``) and column."""
    plain = [r for r in results if not has_event(r.scene)]
    rows = {
        "one thing": [r for r in plain if len(r.scene.things) == 1],
        "two things": [r for r in plain if len(r.scene.things) == 2],
        "an event": [r for r in results if has_event(r.scene)],
        "all": results,
    }
    if not rows["an event"]:
        del rows["an event"]
    return {
        name: {column: wilson(sum(r.right[column] for r in row), len(row)) for column in COLUMNS}
        for name, row in rows.items()
    }


def confusions(results: list[Result], attribute: str) -> list[tuple[str, str, int]]:
    """Return asked, read and count, commonest first, of things found by their colour; ``none`` reads as no name."""
    counts: Counter[tuple[str, str]] = Counter()
    for result in results:
        for asked in result.scene.things:
            for seen in result.reading.things:
                wanted, found = getattr(asked, attribute), getattr(seen, attribute) or "none"
                if seen.color == asked.color and wanted != found:
                    counts[wanted, found] += 1
    return [(wanted, found, count) for (wanted, found), count in counts.most_common(6)]


def table(results: list[Result]) -> str:
    """Return the summary and the commonest confusions as text."""
    lines = [f"{'right, in %':12}" + "".join(f"{column:>18}" for column in COLUMNS)]
    for name, row in summarise(results).items():
        cells = [f"{100 * s.share:.1f} ({100 * s.low:.0f}-{100 * s.high:.0f})" for s in row.values()]
        lines.append(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))
    for attribute in ("shape", "motion"):
        counts = [f"{wanted} read as {found}: {count}" for wanted, found, count in confusions(results, attribute)]
        lines.append(f"{attribute}s confused: {'; '.join(counts) or 'none'}")
    return "\n".join(lines)
