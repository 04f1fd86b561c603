"""A second object for the same autoencoder: its weights, and settings and a cache of its own."""

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from genkit.attention.private import DECODE, SUBMODULES


def twin_of(vae: nn.Module, modules: Mapping[str, nn.Module] = MappingProxyType({}), **settings: Any) -> Any:
    """Return an autoencoder that shares all modules of ``vae`` but none of its attributes.

    What is set on it, as diffusers sets tile sizes and feature caches, is not seen by another pipeline that decodes
    with ``vae`` at the same time.

    Args:
        vae: one of diffusers' autoencoders.
        modules: what stands in for parts of it, by name.
        settings: attributes that differ, for example ``use_framewise_decoding=False``.
    """
    found = copy.copy(vae)
    DECODE.drop(found)
    found.__dict__[SUBMODULES.name] = {**SUBMODULES.read(vae), **modules}
    found.__dict__.update(settings)
    return found


def decode(twin: Any, z: Tensor, *further: Any) -> Tensor:
    """Return the pixels of latents, by the autoencoder's own method below slicing, with its further arguments."""
    pixels: Tensor = DECODE.read(twin)(z, *further).sample
    return pixels
