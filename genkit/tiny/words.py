"""Labels of single words of a caption, with which the text encoder learns to keep two things apart.

A caption's words belong to things by order alone, and a small encoder that learns only through pictures takes very
long to find that out. So a linear map reads from each word's encoding everything about the word's thing.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genkit.tiny.world import COLORS, MOTIONS, SHAPES, SIZES, Scene, find_things, parse

RANK = ("first", "second")
TABLES: tuple[tuple[str, ...], ...] = (RANK, tuple(SIZES), tuple(COLORS), SHAPES, tuple(MOTIONS))
"""Labels read from a word: rank of its thing in the caption, and its size, colour, shape and motion."""


def targets(text: str, length: int) -> Tensor:
    """Return the labels of each word, int64 ``[length, 5]`` in the order of ``TABLES``; -1 where there is none.

    A word of a thing is its size, colour, shape or verb. A size that is not named is not read, and a text that is not a
    caption, such as the empty one, has only -1.
    """
    found = torch.full((length, len(TABLES)), -1)
    if not text:
        return found
    scene = parse(text)
    for rank, (begin, end, with_size) in enumerate(find_things(text)):
        found[begin : min(end, length)] = _labels(scene, rank, with_size)
    return found


def _labels(scene: Scene, rank: int, with_size: bool) -> Tensor:
    thing = scene.things[rank]
    values = (RANK[rank], thing.size, thing.color, thing.shape, thing.motion)
    labels = [table.index(value) for table, value in zip(TABLES, values, strict=True)]
    return torch.tensor(
        [-1 if table is TABLES[1] and not with_size else label for table, label in zip(TABLES, labels, strict=True)]
    )


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
