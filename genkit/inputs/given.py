"""The inputs of one call: which of its arguments they are, and what the pipeline takes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genkit.attention.facts.card import Card
from genkit.checks.values import quote
from genkit.errors import UsageError
from genkit.inputs.reading import Media, Note, one_image, read, read_sound, several_frames
from genkit.inputs.record import flag_of
from genkit.inputs.values import check_strength, check_words
from genkit.inputs.words import MEDIA, OF_ARGUMENT, WORDS, Resize


@dataclass(frozen=True)
class Given:
    """The inputs of a call, read from their files."""

    media: dict[str, Media]
    """Images and videos by word."""
    strength: float | None
    """0 to 1; None is the pipeline's default."""
    resize: Resize | None
    """As the user asked; None is ``crop``."""

    @property
    def fps(self) -> float | None:
        """Frames per second of the first file that has some."""
        return next((one.fps for one in self.media.values() if one.fps is not None), None)

    def records(self) -> dict[str, Any]:
        """Return what a recipe stores of them, by field of a request."""
        found = {name: one.record for name, one in self.media.items()}
        further = {"strength": self.strength, "resize": self.resize}
        return found | {name: value for name, value in further.items() if value is not None}


def split(card: Card, asked: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs by word, and the other arguments; the pipeline's own name of an input is its word too.

    Raises:
        UsageError: an input was given by both names.
    """
    words: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in asked.items():
        word = OF_ARGUMENT.get(name, name)
        own = word in card.takes and card.takes[word].argument == name
        if name not in (*WORDS, "resize") and not own:
            rest[name] = value
        elif value is not None and word in words:
            raise UsageError(f"{word} was given by two names, {word} and {name}; give one of them")
        elif value is not None:
            words[word] = value
    return words, rest


def read_given(pipe: Any, card: Card, words: Mapping[str, Any], others: Mapping[str, Any], note: Note) -> Given:
    """Return the inputs of a call, read.

    Args:
        pipe, card: the pipeline, and what it takes.
        words: as :func:`split` returns them.
        others: the other arguments, which may stand in for an image that is needed, as ``image_embeds`` does.
        note: called with a sentence on each change.

    Raises:
        UsageError: the pipeline does not take one of them, lacks one, or one cannot be read.
    """
    check_words(words)
    for name, value in words.items():
        if name in WORDS and name not in card.takes:
            raise UsageError(_not_taken(type(pipe).__name__, card, name, value))
    for name, known in card.takes.items():
        if known.required and name not in words and not any(key.startswith(f"{known.argument}_") for key in others):
            raise UsageError(
                f"{type(pipe).__name__} makes a video from {_a(name)}, and none was given; give {name}= or "
                f"{flag_of(name)} FILE"
            )
    media = {name: _read(card, name, value, note) for name, value in words.items() if name in MEDIA}
    return Given(media, check_strength(words.get("strength")), words.get("resize"))


def _read(card: Card, name: str, value: Any, note: Note) -> Media:
    form = card.takes[name].form
    if form == "audio":
        return read_sound(name, value)
    found = read(name, value, note)
    if form == "image":
        one_image(name, found)
    if form == "video":
        several_frames(name, found)
    return found


def _not_taken(pipeline: str, card: Card, name: str, value: Any) -> str:
    takers = [taker for taker in WORDS[name].takers if taker != pipeline]
    others = f"{', '.join(takers)} and others do" if takers else "and none of diffusers' pipelines does"
    takes = f"; it takes {', '.join(card.takes)}" if card.takes else ""
    return f"{name}={quote(value)}: {pipeline} takes no {name.replace('_', ' ')}{takes}; {others}"


def _a(name: str) -> str:
    noun = name.replace("_", " ")
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
