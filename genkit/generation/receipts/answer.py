"""The answer of a pipeline's call: its videos, whatever they are called, and the sound beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.attention.facts.call import answer_of, is_modular

SOUNDS = ("audio", "sound")
"""Names of the sound in an answer."""


def videos_of(pipe: Any, answer: Any) -> Sequence[NDArray[Any]]:
    """Return the videos of an answer, each ``[T, H, W, 3]``; some pipelines answer one without a batch."""
    name = answer_of(pipe)
    made = getattr(answer, name) if is_modular(pipe) or hasattr(answer, name) else answer.video
    if isinstance(made, np.ndarray):
        return list(made[None] if made.ndim == 4 else made)
    return [np.asarray(video) for video in made]


def has_sound(answer: Any) -> bool:
    """Return True if an answer has a sound beside its video."""
    return any(getattr(answer, name, None) is not None for name in SOUNDS)


def displayable(video: NDArray[Any]) -> tuple[NDArray[Any], str | None]:
    """Return a video in [0, 1], and a sentence if that cut off light, as of pipelines that answer more than a screen
    shows; else None."""
    darkest, brightest = float(video.min()), float(video.max())
    if darkest >= 0 and brightest <= 1:
        return video, None
    said = f"its light spans {darkest:.4g} to {brightest:.4g} and was cut off at 0 and 1; pipe(...) itself returns it"
    return video.clip(0, 1), said
