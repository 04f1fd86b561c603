"""Models that the page offers, and the lengths each can make, without opening any of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from genkit.attention.facts.lengths import Lengths
from genkit.errors import UsageError, nearest
from genkit.pipelines.known import checkpoints
from genkit.pipelines.pipeline_facts import Published
from genkit.request import FILES, Request

LONGEST = 8
"""Longest video of the page, in multiples of the model's training length."""


@dataclass(frozen=True)
class Offer:
    """What a family on the page takes besides the prompt, by genkit's words."""

    needs: tuple[str, ...] = ()
    """Images and videos without which it makes nothing."""
    may: tuple[str, ...] = ()
    """Images and videos that it takes as well."""

    @property
    def takes(self) -> tuple[str, ...]:
        """Everything that it takes."""
        return self.needs + self.may


FAMILIES: Mapping[str, Offer] = {
    "tiny": Offer(), "wan": Offer(), "wan2.2": Offer(), "wan2.2-5b": Offer(), "hunyuanvideo": Offer(),
    "cogvideox": Offer(), "cogvideox1.5": Offer(), "ltx": Offer(), "mochi": Offer(), "animatediff": Offer(),
    "text-to-video-sd": Offer(), "wan-i2v": Offer(("image",)), "wan2.2-i2v": Offer(("image",), ("last_image",)),
    "wan-flf2v": Offer(("image", "last_image")), "wan-vace": Offer((), ("video", "mask", "reference")),
    "lucy-edit": Offer(("video",)), "hunyuanvideo-i2v": Offer(("image",)), "skyreels-v1": Offer(("image",)),
    "skyreels-v2-i2v": Offer(("image",), ("last_image",)), "framepack": Offer(("image",), ("last_image",)),
    "cogvideox-i2v": Offer(("image",)), "cogvideox1.5-i2v": Offer(("image",)),
}  # fmt: skip
"""Families on the page; all of them take a prompt."""


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


def check_opening(request: Request) -> None:
    """Refuse a request that opens other files than those of a model of the page: it may come from a foreign row.

    Raises:
        UsageError: the page does not offer the model, or the request names a file for it.
    """
    card_of(request.model)
    for name in ("base", *FILES):
        if getattr(request, name) is not None:
            raise UsageError(f"the page does not set {name}; use `genkit generate` for it")


def offer_of(model: str) -> Offer:
    """Return what a model on the page takes; raise ``UsageError`` if the page does not offer it."""
    return FAMILIES[card_of(model).family]


def check_length(card: Published, frames: object) -> int:
    """Return a length the model can make; None becomes its training length.

    Raises:
        UsageError: it cannot make that length, or it is too long for the page.
    """
    if frames is None:
        return card.native_frames
    lengths, longest = card.lengths, LONGEST * (card.native_frames - 1) + 1
    if not isinstance(frames, (int, float)) or not 1 <= frames <= longest:
        raise UsageError(f"{_format(frames)} frames: the page makes 1 to {longest} frames with {card.title}")
    if frames != int(frames) or not lengths.allow(int(frames)):
        near = min(longest, lengths.nearest(round(frames)))
        raise UsageError(f"{_format(frames)} frames: {card.title} makes {_rule(lengths)}; the nearest is {near}")
    return int(frames)


def length_hint(card: Published, frames: int, fps: float) -> str:
    """Describe a length in seconds, and list the nearest legal ones."""
    lengths, native = card.lengths, card.native_frames
    near = (native + lengths.step * k for k in (-1, 0, 1, 2))
    others = ", ".join(str(frames) for frames in near if frames > 0 and lengths.allow(frames))
    return (
        f"{frames} frames are {frames / fps:.1f} s at {fps:g} frames a second. "
        f"In {card.title} a video has {_rule(lengths)} (..., {others}, ...); it was trained on {native}."
    )


def _rule(lengths: Lengths) -> str:
    return "any whole number of frames" if lengths.step == 1 else lengths.rule


def _format(number: object) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
