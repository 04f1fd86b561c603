"""Decoders that look at frames before and after (HunyuanVideo, LTX): overlapping temporal tiles, blended."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkit.decoding.cut import Cut, spans
from genkit.decoding.twin import decode, twin_of

PIECE = 16
"""Latent frames of a piece where neither user nor autoencoder says how many."""


def hunyuan(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode in the autoencoder's own temporal tiles; its norms are taken over a tile, so its size is not ours."""
    return _own_tiles(vae, z, (), alone=0)


def ltx(vae: Any, z: Tensor, cut: Cut, temb: Tensor | None = None) -> Iterator[Tensor]:
    """Decode with ``cut.overlap`` latent frames on either side, or in the autoencoder's own tiles where its user has
    set ``use_framewise_decoding``."""
    if vae.use_framewise_decoding:
        return _own_tiles(vae, z, (temb,), alone=-1)
    return blended(_overlapping(vae, z, cut, temb), vae.temporal_compression_ratio)


def _own_tiles(vae: Any, z: Tensor, further: tuple[Any, ...], alone: int) -> Iterator[Tensor]:
    """Yield what each tile adds, blended by the autoencoder's own ``blend_t``, so that the frames are the same bit for
    bit as from its own tiled decoding.

    Args:
        vae: has ``tile_sample_min_num_frames`` and ``tile_sample_stride_num_frames``, in pixel frames.
        z: latents ``[B, C, F, H, W]``.
        further: further arguments of its ``_decode``.
        alone: index of the pixel frame that a later tile has too many: its first (0) or its last (-1).
    """
    ratio, stride = vae.temporal_compression_ratio, vae.tile_sample_stride_num_frames
    length, overlap = vae.tile_sample_min_num_frames // ratio, vae.tile_sample_min_num_frames - stride
    twin, before, left = twin_of(vae, use_framewise_decoding=False), None, 1 + (z.shape[2] - 1) * ratio
    if z.shape[2] <= length:
        yield decode(twin, z, *further)
        return
    for start in range(0, z.shape[2], stride // ratio):
        tile = decode(twin, z[:, :, start : start + length + 1], *further)
        if before is not None:
            tile = twin.blend_t(before, tile[:, :, 1:] if alone == 0 else tile[:, :, :-1], overlap)
        piece = tile[:, :, : min(left, stride + (before is None))]
        if not piece.shape[2]:
            return
        yield piece
        before, left = tile, left - piece.shape[2]


def _overlapping(vae: Any, z: Tensor, cut: Cut, temb: Tensor | None) -> Iterator[tuple[int, Tensor, int]]:
    """Yield (number of its first frame in the video, pixels, number of the frame at which the next takes over)."""
    ratio, step, twin = vae.temporal_compression_ratio, cut.frames or PIECE, twin_of(vae)
    for start, end in spans(z.shape[2], step, step):
        begin = max(start - cut.overlap, 0)
        pixels = decode(twin, z[:, :, begin : end + cut.overlap], temb)
        yield begin * ratio, pixels, 1 + (end - 1) * ratio


def blended(tiles: Iterator[tuple[int, Tensor, int]], ramp: int) -> Iterator[Tensor]:
    """Yield the frames of a video from tiles that overlap.

    In the ``ramp`` frames after each take-over, the share of the new tile grows linearly.

    Args:
        tiles: (number of its first frame in the video, pixels ``[B, 3, T, H, W]``, number of the frame at which the
            next takes over).
        ramp: pixel frames.
    """
    held, done = None, 0
    for first, pixels, end in tiles:
        piece = pixels[:, :, done - first : end + ramp - first]
        if held is not None:
            count = held.shape[2]
            share = torch.arange(1, count + 1, dtype=piece.dtype, device=piece.device) / (count + 1)
            piece[:, :, :count] = torch.lerp(held, piece[:, :, :count], share.view(-1, 1, 1))
        yield piece[:, :, : end - done]
        held, done = piece[:, :, end - done :].clone(), end
