"""The suite ``sprites``: do clips of the embedded model's world show what their prompts say? Judged by the oracle.

Beyond the training length the world itself does not keep moving left, right, up or down, growing or shrinking, so a
perfect video is not entirely right there either. Beside every accuracy stands its ceiling: the oracle's score of the
exact world, rendered for the same prompts at the same length.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import torch

from genkit.benchmarks.evaluate.metric import Metric, Sample, Suite
from genkit.benchmarks.evaluate.stats import UNIT, Stat
from genkit.errors import GenkitError
from genkit.tiny.oracle import ATTRIBUTES, read_windows, score
from genkit.tiny.world import NATIVE_FRAMES, NATIVE_SIDE, parse, render

QUESTIONS = (*ATTRIBUTES, "joint")
RENDERED = 4
"""Number of exact clips averaged for a ceiling; they differ in place, pace and phase."""


@lru_cache(maxsize=512)
def exact_shares(prompt: str, windows: int) -> dict[str, float]:
    """Return the share of windows that are right in the exact world, by attribute; deterministic.

    Raises:
        ValueError: the prompt is not a sentence of this world.
    """
    scene = parse(prompt)
    clips = render(
        [scene] * RENDERED,
        torch.Generator().manual_seed(0),
        num_frames=windows * (NATIVE_FRAMES - 1) + 1,
        side=NATIVE_SIDE,
    )
    answers = [score(reading, scene) for clip in clips for reading in read_windows(clip)]
    return {name: fmean(answer[name] for answer in answers) for name in QUESTIONS}


def _answers(sample: Sample) -> list[dict[str, bool]]:
    """Return which attributes are right in each window of 17 frames.

    Raises:
        GenkitError: the file contains no prompt of this world, or the oracle cannot read the frames.
    """
    if sample.prompt is None:
        raise GenkitError("no single prompt is stored in the file, so the oracle cannot know what it should show")
    try:
        scene = parse(sample.prompt)
    except ValueError as error:
        raise GenkitError(str(error)) from error
    frames = torch.from_numpy(sample.video.frames).movedim(-1, 1)
    return [score(reading, scene) for reading in read_windows(frames)]


@dataclass(frozen=True, kw_only=True)
class Attribute(Metric):
    """One attribute of what the oracle sees.

    Raises:
        GenkitError: when measuring, if the file contains no prompt of this world or the oracle cannot read it.
    """

    question: str
    """One of ``color, shape, size, motion, background``, or ``joint``: all of them except size."""

    better = "higher"
    reduction = UNIT
    preprocessing = "oracle.1"

    @property
    def name(self) -> str:  # type: ignore[override]
        """Return ``sprites.`` and the question."""
        return f"sprites.{self.question}"

    @property
    def about(self) -> str:  # type: ignore[override]
        """Return the sentence of what the share counts."""
        what = "all attributes except size are" if self.question == "joint" else f"the {self.question} is"
        return f"share of windows of 17 frames in which {what} as the prompt says; in [0, 1]"

    def ceiling(self, prompt: str | None, stat: Stat) -> float | None:
        """Return the score of the exact world with this prompt in as many windows."""
        return None if prompt is None or not stat.weight else exact_shares(prompt, int(stat.weight))[self.question]

    def measure(self, sample: Sample) -> Stat:
        """Return the share over the windows of a clip."""
        return Stat.of_curve([float(answer[self.question]) for answer in sample.feature(_answers)])


SUITE = Suite(name="sprites", metrics=tuple(Attribute(question=name) for name in QUESTIONS), prompted=True)
