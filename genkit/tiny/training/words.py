"""Labels of single words of a caption, with which the text encoder learns to keep two things apart.

A caption's words belong to things by order alone, and a small encoder that learns only through pictures takes very
long to find that out. So a linear map reads from each word's encoding everything about the word's thing.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genkit.tiny.motions import MOTIONS
from genkit.tiny.shapes import SHAPES
from genkit.tiny.world import COLORS, SIZES, Mention, Scene, find_mentions, parse

RANK = ("first", "second")
TIME = ("before", "after")
TABLES: tuple[tuple[str, ...], ...] = (RANK, tuple(SIZES), tuple(COLORS), SHAPES, tuple(MOTIONS), TIME)
"""Labels read from a word: rank of its thing in the caption, size, colour, shape, motion, and the side of an event."""


def targets(text: str, length: int) -> Tensor:
    """Return the labels of each word, int64 ``[length, 6]`` in the order of ``TABLES``; -1 where there is none.

    A word of a thing is its size, colour, shape or verb; colour and shape of what it turns into are words of its second
    look. A size that is not named is not read, nor a time without an event, and a text that is not a caption, such as
    the empty one, has only -1.
    """
    found = torch.full((length, len(TABLES)), -1)
    if not text:
        return found
    scene = parse(text)
    for mention in find_mentions(text):
        found[mention.begin : min(mention.end, length)] = _labels(scene, mention)
    return found


def _labels(scene: Scene, mention: Mention) -> Tensor:
    thing = scene.things[mention.thing]
    look = thing.looks[mention.look]
    values: dict[int, str | None] = {
        0: RANK[mention.thing],
        1: thing.size if mention.with_size else None,
        2: look.color,
        3: look.shape,
        4: thing.motion,
        5: TIME[mention.look] if thing.then else None,
    }
    return torch.tensor([-1 if value is None else TABLES[i].index(value) for i, value in values.items()])


class WordReader(nn.Linear):
    """The linear map from a word's encoding ``[.., width]`` to scores of all entries of ``TABLES``."""

    def __init__(self, width: int) -> None:
        super().__init__(width, sum(map(len, TABLES)))

    def loss(self, encoding: Tensor, texts: list[str]) -> Tensor:
        """Return the mean cross-entropy of readings of ``[B, L, width]``; 0 if no text is a caption."""
        wanted = torch.stack([targets(text, encoding.shape[1]) for text in texts]).to(encoding.device)
        scores = self(encoding).float().split([len(table) for table in TABLES], -1)
        parts = [
            cross_entropy(score.flatten(0, 1), wanted[..., i].flatten(), ignore_index=-1, reduction="sum")
            for i, score in enumerate(scores)
        ]
        return torch.stack(parts).sum() / (wanted >= 0).sum().clamp_min(1)
