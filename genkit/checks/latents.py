"""The latents of a run before it starts: their shape, from the pipeline's own method on the meta device."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import configured
from genkit.attention.geometry.grid import latent_frames
from genkit.checks.arguments import default_of
from genkit.checks.lengths import LENGTH, default_length
from genkit.errors import UsageError

SIZES = (LENGTH, "height", "width")
GIVEN = frozenset({"image", "video", "conditions", "reference_conditions"})
"""Arguments by which a pipeline puts an image or a video into its first latents."""


def size_of(pipe: Any, card: Card, arguments: dict[str, Any]) -> dict[str, int]:
    """Return frames, height and width of a call in pixels, after the pipeline's defaults.

    A size that is known only during the call is left out.
    """
    found = {name: arguments.get(name) or default_of(pipe, name) or _default(pipe, card, name) for name in SIZES[1:]}
    found = {LENGTH: arguments.get(LENGTH) or default_length(pipe, card)} | found
    return {name: int(size) for name, size in found.items() if size}


def latents_like(pipe: Any, card: Card, arguments: dict[str, Any]) -> torch.Tensor | None:
    """Return the initial latents of the pipeline as a meta tensor (a shape without numbers).

    None if they are not known before the call.
    """
    size, channels = size_of(pipe, card, arguments), configured(card.model(pipe), "in_channels")
    if len(size) < len(SIZES) or channels is None or getattr(pipe, "free_noise_enabled", False):
        return None
    patch = card.time_patch(pipe)
    stride = card.stride(pipe) // patch
    spare = -latent_frames(size["num_frames"], stride) % patch
    size["num_frames"] += spare * stride  # CogVideoX 1.5 adds them and drops them at the end
    given = {
        "batch_size": 1,
        "num_channels_latents": channels,
        **size,
        "dtype": torch.float32,
        "device": torch.device("meta"),
        "generator": None,
    }
    method = getattr(type(pipe), "prepare_latents", None)
    if method is None or not _binds(method, given) or not GIVEN.isdisjoint(inspect.signature(method).parameters):
        return None  # a block draws them, or it also takes an image or a video, which would have to be read first
    made = method(pipe, **given)
    found: torch.Tensor = made[0] if isinstance(made, tuple) else made
    return found


def _binds(method: Callable[..., Any], given: dict[str, Any]) -> bool:
    """Return True if a method can be called with these arguments, by name."""
    try:
        inspect.signature(method).bind(None, **given)
    except TypeError:
        return False
    return True


def check_given(pipe: Any, card: Card, arguments: dict[str, Any]) -> None:
    """Raise unless latents given by the caller match this call's size.

    Raises:
        UsageError: they have another shape.
    """
    if "latents" not in arguments:
        return
    given, like = arguments["latents"], latents_like(pipe, card, arguments)
    if like is not None and given.shape != like.shape:
        size = size_of(pipe, card, arguments)
        raise UsageError(
            f"latents have shape {list(given.shape)}, but {size['num_frames']} frames of {size['height']}x"
            f"{size['width']} begin with {list(like.shape)}; give that shape, or another size"
        )


def _default(pipe: Any, card: Card, name: str) -> int | None:
    """Return the default that a pipeline keeps in its configuration and not in its signature."""
    model, kept = card.model(pipe), getattr(pipe, f"default_{name}", None)
    cells = configured(model, f"sample_{name}") or configured(model, "sample_size")
    return kept if kept or cells is None else cells * int(getattr(pipe, card.size_attribute))
