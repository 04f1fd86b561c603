"""How a video is cut into pieces along time."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a user asks of the pieces."""

    frames: int | None = None
    """Latent frames of a piece; None is the smallest that the autoencoder's own decoding has."""
    overlap: int = 8
    """Latent frames decoded on either side of a piece and not kept, at least 1, where the autoencoder has no cache."""


def spans(frames: int, first: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of pieces that cover ``frames``: the first has ``first`` of them, each other ``step``."""
    start, end = 0, first
    while start < frames:
        yield start, min(end, frames)
        start, end = end, end + step
