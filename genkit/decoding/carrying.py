"""A decoder that stands in for the autoencoder's own and takes its memory from one piece to the next."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from genkit.decoding.cut import spans
from genkit.decoding.twin import decode


class Carrying(nn.Module):
    """A decoder between pieces: its memory of each spatial tile, in the order in which the autoencoder decodes them."""

    decoder: Any

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.__dict__["decoder"] = decoder  # not a part of this module: it belongs to the autoencoder
        self.memories: list[Any] = []
        self.tile, self.first = -1, True

    def begin(self, first: bool) -> None:
        """Begin a piece; ``first`` is True for the first of a video."""
        self.tile, self.first = -1, first

    def next_tile(self) -> Any:
        """Go on to the next tile of this piece and return the memory that it begins with; None in the first piece."""
        self.tile += 1
        if self.first:
            self.memories.append(None)
        return self.memories[self.tile]


def carried(twin: Any, carrying: Carrying, z: Tensor, first: int, step: int) -> Iterator[Tensor]:
    """Yield the pixels of each piece, decoded by the autoencoder's own method.

    Args:
        twin: an autoencoder whose decoder is ``carrying``.
        carrying: what takes the memory along.
        z: latents ``[B, C, F, H, W]``.
        first: latent frames of the first piece.
        step: latent frames of each other piece.
    """
    for start, end in spans(z.shape[2], first, step):
        carrying.begin(first=start == 0)
        yield decode(twin, z[:, :, start:end])
