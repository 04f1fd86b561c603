"""Autoencoders in which each frame stands by itself: those of images (AnimateDiff, ModelScope) and the embedded one."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from genkit.decoding.cut import Cut, spans
from genkit.decoding.twin import decode, twin_of

IMAGES, PATCHES = 4, 16
"""Frames of a piece where the user does not say how many."""


def images(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode latents ``[B F, C, H, W]`` in batches."""
    step, twin = cut.frames or IMAGES, twin_of(vae)
    for start, end in spans(len(z), step, step):
        yield decode(twin, z[start:end])


def patches(vae: Any, z: Tensor, cut: Cut) -> Iterator[Tensor]:
    """Decode with the latent frame before, which stands in for the first one of a video and is left out."""
    step, twin = cut.frames or PATCHES, twin_of(vae)
    for start, end in spans(z.shape[2], step, step):
        begin = max(start - 1, 0)
        pixels = decode(twin, z[:, :, begin:end])
        yield pixels[:, :, start - begin :]
