"""What a pipeline takes besides the prompt: one word of genkit for each input, and the argument that it becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Form = Literal["image", "images", "video", "mask", "audio", "number"]
"""One image; a list of images; a list of frames; a list of black and white frames, white where something new is made;
sound; or a number."""
Convert = Callable[[Any, Mapping[str, Any]], Any]
"""``(value, arguments) -> value`` in the form of one pipeline; ``arguments`` are those of the call so far."""


def unchanged(value: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the value as it is: an image, a list of images, or a number."""
    return value


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a pipeline."""

    argument: str
    """Argument of the pipeline's call; words with the same one are joined to one list."""
    form: Form
    """Form of the value before ``convert``."""
    whole: bool = False
    """True for a video with a frame for each frame of the result; False for one that may be shorter, such as its
    beginning."""
    stepped: bool = False
    """True if a video is cut to a length that the model makes; False if the pipeline takes any length."""
    required: bool = False
    """True if the pipeline makes nothing without it."""
    fitted: bool = True
    """True if images are brought to the size of the result; False if the pipeline takes any size as it is."""
    size: Callable[[Any], tuple[int, int]] | None = None
    """Returns another height and width in pixels for a pipeline; None: those of the result."""
    convert: Convert = unchanged
    """Returns the value in the pipeline's form."""
