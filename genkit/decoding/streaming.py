"""Latents to frames piece by piece, so that the memory of decoding does not grow with the length of a video."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genkit.decoding.cut import Cut
from genkit.decoding.kinds import has_own_tiles, pieces_of
from genkit.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """A decode plan: each kind of autoencoder in its own way, see ``genkit.decoding.kinds``."""

    name: str
    cut: Cut
    streams: bool = True

    def check(self, vae: Any) -> None:
        """Raise ``UsageError`` where an autoencoder cannot be decoded piece by piece."""
        pieces_of(vae)
        if self.cut.frames is not None and has_own_tiles(vae):
            raise UsageError(
                f"{self.name}: frames={self.cut.frames} has no place in {type(vae).__name__}, which decodes in tiles "
                f"of pipe.vae.tile_sample_min_num_frames={vae.tile_sample_min_num_frames} pixel frames; set that, or "
                "leave frames out"
            )

    def wrap(self, decode: Callable[..., Iterator[Tensor]], vae: Any) -> Callable[..., Iterator[Tensor]]:
        """Return what decodes ``(latents, *further)`` piece by piece, in place of ``decode``."""
        pieces = pieces_of(vae)

        def streamed(latents: Tensor, *further: Any) -> Iterator[Tensor]:
            return pieces(vae, latents, self.cut, *further)

        return streamed
