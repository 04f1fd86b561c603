"""The division of a model's latents into tokens: the token volume of one forward, and the patch in time."""

from math import prod
from typing import Any

from torch import Tensor, nn

from genkit.attention.facts.coordinates import Volume, placed
from genkit.attention.private import COMPILED

Arguments = dict[str, Any]


def plain_model(part: Any) -> Any:
    """Return a model without the wrapper of ``torch.compile``."""
    return COMPILED.read(part) if COMPILED.is_in(part) else part


def configured(part: Any, name: str) -> Any:
    """Return a value from the configuration of a model or pipeline; None if it is missing."""
    return getattr(getattr(plain_model(part), "config", None), name, None)


def patch_of(model: Any) -> Volume:
    """Return the latent frames, rows and columns of one token of a model; ``(1, 1, 1)`` without patches."""
    patch = configured(model, "patch_size") or configured(model, "latent_patch_size") or 1
    if isinstance(patch, (tuple, list)):
        time, down, right = patch
        return time, down, right
    return configured(model, "patch_size_t") or 1, patch, patch


def channels_first(model: nn.Module, arguments: Arguments) -> Volume:
    """Read ``hidden_states [B, C, F, H, W]``."""
    *_, frames, height, width = arguments["hidden_states"].shape
    return _patched(model, frames, height, width)


def frames_first(model: nn.Module, arguments: Arguments) -> Volume:
    """Read ``hidden_states [B, F, C, H, W]``."""
    _, frames, _, height, width = arguments["hidden_states"].shape
    return _patched(model, frames, height, width)


def channels_last(model: nn.Module, arguments: Arguments) -> Volume:
    """Read ``hidden_states [B, F, H, W, C]``."""
    _, frames, height, width, _ = arguments["hidden_states"].shape
    return _patched(model, frames, height, width)


def packed(model: nn.Module, arguments: Arguments) -> Volume:
    """Read the latent volume passed beside tokens that are already packed, or the coordinates of the tokens."""
    frames, height, width = (arguments.get(name) for name in ("num_frames", "height", "width"))
    if frames is None or height is None or width is None or _is_left_to_coordinates(arguments):
        return placed(arguments["video_coords"])[1]
    return _patched(model, frames, height, width)


def packed_before(model: nn.Module, arguments: Arguments) -> int:
    """Return how many other packed tokens, such as keyframes, stand before the video."""
    return placed(arguments["video_coords"])[0] if _is_left_to_coordinates(arguments) else 0


def packed_others(model: nn.Module, arguments: Arguments) -> int:
    """Return how many other packed tokens, such as keyframes and references, share the sequence with the video."""
    latents: Tensor = arguments["hidden_states"]
    return latents.shape[1] - prod(packed(model, arguments))


def _is_left_to_coordinates(arguments: Arguments) -> bool:
    """Whether the numbers beside the tokens say nothing: they are missing, or 1 beside coordinates."""
    numbers = [arguments.get(name) or 1 for name in ("num_frames", "height", "width")]
    return arguments.get("video_coords") is not None and prod(numbers) == 1


def unet(model: nn.Module, arguments: Arguments) -> Volume:
    """Read a UNet's ``sample [B, C, F, H, W]``; deeper levels follow from each call's own token count."""
    sample: Tensor = arguments["sample"]
    return sample.shape[2], sample.shape[3], sample.shape[4]


def unet_frames_first(model: nn.Module, arguments: Arguments) -> Volume:
    """Read a UNet's ``sample [B, F, C, H, W]``."""
    sample: Tensor = arguments["sample"]
    return sample.shape[1], sample.shape[3], sample.shape[4]


def _patched(model: nn.Module, frames: int, height: int, width: int) -> Volume:
    time, down, right = patch_of(model)
    return frames // time, height // down, width // right
