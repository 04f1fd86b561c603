"""Which autoencoder is decoded how."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from genkit.decoding import causal_padding, frame_by_frame, own_cache, temporal_tiles
from genkit.errors import UsageError

KINDS: dict[str, Callable[..., Iterator[Tensor]]] = {
    "AutoencoderKL": frame_by_frame.images,
    "AutoencoderKLCogVideoX": own_cache.cogvideox,
    "AutoencoderKLHunyuanVideo": temporal_tiles.hunyuan,
    "AutoencoderKLLTXVideo": temporal_tiles.ltx,
    "AutoencoderKLMochi": causal_padding.mochi,
    "AutoencoderKLWan": own_cache.wan,
    "PatchAutoencoder": frame_by_frame.patches,
}
"""Functions ``(vae, latents, cut, *further arguments of its _decode)`` by class of autoencoder; its parents count."""


def has_own_tiles(vae: Any) -> bool:
    """Return whether an autoencoder is decoded in temporal tiles that it sets itself."""
    return pieces_of(vae) in (temporal_tiles.hunyuan, temporal_tiles.ltx) and bool(vae.use_framewise_decoding)


def pieces_of(vae: Any) -> Callable[..., Iterator[Tensor]]:
    """Return how an autoencoder is decoded piece by piece.

    Raises:
        UsageError: it is of no class in ``KINDS``, or it decodes so that pieces would not be parts of the whole.
    """
    names = [kind.__name__ for kind in type(vae).__mro__]
    found = next((KINDS[name] for name in names if name in KINDS), None)
    if found is None:
        raise UsageError(
            f"{names[0]} is not known to decode piece by piece; leave stream-decode out, or use a pipeline whose "
            f"autoencoder is one of {', '.join(sorted(KINDS))}"
        )
    if found is temporal_tiles.hunyuan and not vae.use_framewise_decoding:
        raise UsageError(
            f"pipe.vae.use_framewise_decoding=False asks {names[0]} to decode all frames at once, and its norms are "
            "taken over all of them; set it to True, or leave stream-decode out"
        )
    if any("per_channel_scale" in name for name, _ in vae.named_parameters()):
        raise UsageError(
            f"this {names[0]} adds noise in its decoder, which each piece would draw by itself; leave stream-decode out"
        )
    return found
