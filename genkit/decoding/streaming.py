"""Latents to frames piece by piece, so that the memory of decoding does not grow with the length of a video."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genkit.decoding.cut import Cut
from genkit.decoding.kinds import pieces_of


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """A decode plan: each kind of autoencoder in its own way, see ``genkit.decoding.kinds``."""

    name: str
    cut: Cut
    streams: bool = True

    def check(self, vae: Any) -> None:
        """Raise ``UsageError`` where an autoencoder cannot be decoded piece by piece."""
        pieces_of(vae)

    def wrap(self, decode: Callable[..., Iterator[Tensor]], vae: Any) -> Callable[..., Iterator[Tensor]]:
        """Return what decodes ``(latents, *further)`` piece by piece, in place of ``decode``."""
        pieces = pieces_of(vae)

        def streamed(latents: Tensor, *further: Any) -> Iterator[Tensor]:
            return pieces(vae, latents, self.cut, *further)

        return streamed
