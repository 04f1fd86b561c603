"""Decoders with a cache of their own (Wan, CogVideoX): a piece begins with the cache that the one before ended with.

The calls of the decoder are exactly those of decoding at once, so the frames are the same bit for bit.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from genkit.decoding.carrying import Carrying, carried
from genkit.decoding.cut import Cut
from genkit.decoding.twin import twin_of


class FeatureList(Carrying):
    """The decoder of Wan, which writes into a list of features that the autoencoder hands it."""

    def forward(self, z: Tensor, feat_cache: list[Any], feat_idx: list[int], first_chunk: bool = False) -> Tensor:
        """Decode one latent frame of one tile; an empty list marks the tile's first frame in this piece."""
        if all(entry is None for entry in feat_cache):
            feat_cache[:] = self.next_tile() or feat_cache
            self.memories[self.tile] = feat_cache
        begins = {"first_chunk": True} if first_chunk and self.first else {}
        out: Tensor = self.decoder(z, feat_cache=feat_cache, feat_idx=feat_idx, **begins)
        return out


class AtOnce(nn.Module):
    """A convolution of single positions, computed for all latent frames in one call, as in decoding at once.

    Its kernel, and with it the last bit, depends on how many positions there are.
    """

    conv: Any

    def __init__(self, conv: nn.Module, z: Tensor) -> None:
        super().__init__()
        self.__dict__["conv"] = conv  # not a part of this module: it belongs to the autoencoder
        self.whole, self.done = conv(z), 0

    def forward(self, z: Tensor) -> Tensor:
        """Return the next frames; of a spatial tile, which has one shape in both ways, what the convolution gives."""
        if z.shape[3:] != self.whole.shape[3:]:
            tile: Tensor = self.conv(z)
            return tile
        self.done += z.shape[2]
        return self.whole[:, :, self.done - z.shape[2] : self.done]


class ConvolutionCache(Carrying):
    """The decoder of CogVideoX, which takes and returns a cache of its convolutions."""

    def forward(self, z: Tensor, conv_cache: Any = None) -> tuple[Tensor, Any]:
        """Decode one batch of latent frames of one tile; None marks the tile's first batch in this piece."""
        cache = self.next_tile() if conv_cache is None else conv_cache
        out, self.memories[self.tile] = self.decoder(z, conv_cache=cache)
        return out, self.memories[self.tile]


def wan(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode with a list of features; a piece is one latent frame where the cut leaves it open."""
    carrying = FeatureList(vae.decoder)
    twin = twin_of(vae, {"decoder": carrying, "post_quant_conv": AtOnce(vae.post_quant_conv, z)})
    return carried(twin, carrying, z, first=cut.frames or 1, step=cut.frames or 1)


def cogvideox(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode in whole batches of the autoencoder's own, over which its norms are taken."""
    batch, carrying = vae.num_latent_frames_batch_size, ConvolutionCache(vae.decoder)
    step = max((cut.frames or batch) // batch, 1) * batch
    return carried(twin_of(vae, {"decoder": carrying}), carrying, z, first=step + z.shape[2] % batch, step=step)
