"""The oracle's verdict on a clip of any length, in words that a person can check by looking."""

from dataclasses import dataclass

import torch
from numpy.typing import NDArray

from genkit.tiny.oracle import Reading, read_windows, score
from genkit.tiny.world import Scene, parse

STRIDE = 3
"""Frames between the windows that are read; 65 frames have 17 windows."""
AT_REST = ("still", "spin", None)
"""Motions without a way; None is one that the world has no word for."""


@dataclass(frozen=True)
class Verdict:
    """Readings of the windows of one clip, 17 frames each, counted."""

    windows: int
    """Number of windows."""
    kept: int
    """Windows in which colour and shape are those of the prompt."""
    moving: int
    """Windows in which the first thing goes somewhere, grows or shrinks, in a way that the world has a word for."""

    @property
    def moves(self) -> bool:
        """True if the clip moves in more than half of its windows."""
        return 2 * self.moving > self.windows

    def __str__(self) -> str:
        moves = "yes" if self.moves else "no"
        return f"moves: {moves} ({self.moving} of {self.windows} windows), shape kept: {self.kept} of {self.windows}"


def verdict(frames: NDArray, prompt: str) -> Verdict:
    """Read every window of a clip of the embedded model and hold it against the prompt.

    Args:
        frames: ``[T >= 17, S, S, 3]``, uint8 or float in [0, 1], ``S`` a multiple of 64.
        prompt: one sentence of the world, or several with ``|`` between them: a window is right where it shows one of
            them.

    Raises:
        ValueError: the prompt is not a sentence of this world.
        UsageError: the oracle cannot read the frames.
    """
    scenes = [parse(text.strip()) for text in prompt.split("|")]
    readings = read_windows(torch.from_numpy(frames).movedim(-1, 1), STRIDE)
    kept = sum(any(_keeps(reading, scene) for scene in scenes) for reading in readings)
    return Verdict(len(readings), kept, sum(_moves(reading) for reading in readings))


def _keeps(reading: Reading, scene: Scene) -> bool:
    answers = score(reading, scene)
    return answers["color"] and answers["shape"]


def _moves(reading: Reading) -> bool:
    return bool(reading.things) and reading.things[0].motion not in AT_REST
