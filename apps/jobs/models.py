"""Which models the page offers, and which lengths each can make, without opening any of them."""

from genkit.attention.facts.cards import CARDS
from genkit.attention.facts.model_card import ModelCard
from genkit.errors import UsageError, nearest

LONGEST = 8
"""The page makes videos up to about this many times the training length."""


def names() -> list[str]:
    """The models that can be chosen: those on the cards, and no other, so that no typed text becomes a path."""
    return [name for card in CARDS for name in card.hub_ids]


def card_of(model: str) -> ModelCard:
    """The card of a model that the page offers.

    Raises:
        UsageError: it does not offer this one.
    """
    found = {name: card for card in CARDS for name in card.hub_ids}
    if model not in found:
        raise UsageError(f"the page does not offer the model {model!r}; {nearest(model, found)}")
    return found[model]


def check_length(card: ModelCard, frames: object) -> int:
    """A length that the model can make; None is its training length.

    Raises:
        UsageError: it cannot, or the video would be too long for the page.
    """
    if frames is None:
        return card.native_frames
    step, most = card.frame_step(), LONGEST * (card.native_frames - 1) + 1
    if not isinstance(frames, (int, float)) or not 1 <= frames <= most:
        raise UsageError(f"{_shown(frames)} frames: the page makes 1 to {most} frames with {card.title}")
    if frames != int(frames) or (int(frames) - 1) % step:
        near = min(most, round((frames - 1) / step) * step + 1)
        raise UsageError(f"{_shown(frames)} frames: {card.title} makes {_rule(step)}; the nearest is {near}")
    return int(frames)


def length_hint(card: ModelCard, frames: int, fps: float) -> str:
    """What a length means, and which others there are."""
    step, native = card.frame_step(), card.native_frames
    others = ", ".join(str(native + step * k) for k in (-1, 0, 1, 2) if native + step * k > 0)
    return (
        f"{frames} frames are {frames / fps:.1f} s at {fps:g} frames a second. "
        f"In {card.title} a video has {_rule(step)} (..., {others}, ...); it was trained on {native}."
    )


def _rule(step: int) -> str:
    return "any whole number of frames" if step == 1 else f"{step}k + 1 frames"


def _shown(number: object) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
