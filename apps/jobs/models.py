"""Models that the page offers, and the lengths each can make, without opening any of them."""

from genkit.errors import UsageError, nearest
from genkit.pipelines.known import checkpoints
from genkit.pipelines.pipeline_facts import Published

LONGEST = 8
"""Longest video of the page, in multiples of the model's training length."""


FAMILIES = frozenset({
    *("tiny", "wan", "wan2.2", "wan2.2-5b", "hunyuanvideo", "cogvideox", "cogvideox1.5", "ltx", "mochi"),
    *("animatediff", "text-to-video-sd"),
})  # fmt: skip
"""Families that make a video of a prompt alone, which is all that the page takes."""


def names() -> list[str]:
    """Return the models on offer: only published checkpoints, so that typed text never becomes a path."""
    return [name for one in offered() for name in one.hub_ids]


def offered() -> list[Published]:
    """Return the checkpoints that the page offers."""
    return [one for one in checkpoints() if one.family in FAMILIES]


def card_of(model: str) -> Published:
    """Return the card of a model that the page offers.

    Raises:
        UsageError: it does not offer this one.
    """
    found = {name: one for one in offered() for name in one.hub_ids}
    if model not in found:
        raise UsageError(f"the page does not offer the model {model!r}; {nearest(model, found)}")
    return found[model]


def check_length(card: Published, frames: object) -> int:
    """Return a length the model can make; None becomes its training length.

    Raises:
        UsageError: it cannot make that length, or it is too long for the page.
    """
    if frames is None:
        return card.native_frames
    step, longest = card.frame_step, LONGEST * (card.native_frames - 1) + 1
    if not isinstance(frames, (int, float)) or not 1 <= frames <= longest:
        raise UsageError(f"{_format(frames)} frames: the page makes 1 to {longest} frames with {card.title}")
    if frames != int(frames) or (int(frames) - 1) % step:
        near = min(longest, round((frames - 1) / step) * step + 1)
        raise UsageError(f"{_format(frames)} frames: {card.title} makes {_rule(step)}; the nearest is {near}")
    return int(frames)


def length_hint(card: Published, frames: int, fps: float) -> str:
    """Describe a length in seconds, and list the nearest legal ones."""
    step, native = card.frame_step, card.native_frames
    others = ", ".join(str(native + step * k) for k in (-1, 0, 1, 2) if native + step * k > 0)
    return (
        f"{frames} frames are {frames / fps:.1f} s at {fps:g} frames a second. "
        f"In {card.title} a video has {_rule(step)} (..., {others}, ...); it was trained on {native}."
    )


def _rule(step: int) -> str:
    return "any whole number of frames" if step == 1 else f"{step}k + 1 frames"


def _format(number: object) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
