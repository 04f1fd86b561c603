"""How a model's latents are cut into tokens: the token volume of one forward, and the patch in time."""

from typing import Any

from torch import Tensor, nn

Arguments = dict[str, Any]
Volume = tuple[int, int, int]
"""Frames, rows and columns of tokens (of the finest level, in a UNet)."""


def plain_model(part: Any) -> Any:
    """A model without the wrapper that ``torch.compile`` puts around it."""
    return getattr(part, "_orig_mod", part)


def configured(part: Any, name: str) -> Any:
    """What the configuration of a model or pipeline says under a name; None where it has none, or says nothing."""
    return getattr(getattr(plain_model(part), "config", None), name, None)


def patch_of(model: Any) -> Volume:
    """Latent frames, rows and columns that one token of a model stands for; ``(1, 1, 1)`` without patches."""
    patch = configured(model, "patch_size") or 1
    if isinstance(patch, (tuple, list)):
        time, down, right = patch
        return time, down, right
    return configured(model, "patch_size_t") or 1, patch, patch


def channels_first(model: nn.Module, arguments: Arguments) -> Volume:
    """``hidden_states [B, C, F, H, W]``."""
    *_, frames, height, width = arguments["hidden_states"].shape
    return _patched(model, frames, height, width)


def frames_first(model: nn.Module, arguments: Arguments) -> Volume:
    """``hidden_states [B, F, C, H, W]``."""
    _, frames, _, height, width = arguments["hidden_states"].shape
    return _patched(model, frames, height, width)


def packed(model: nn.Module, arguments: Arguments) -> Volume:
    """Tokens are packed already; the latent volume comes beside them."""
    return _patched(model, arguments["num_frames"], arguments["height"], arguments["width"])


def unet(model: nn.Module, arguments: Arguments) -> Volume:
    """UNets: ``sample [B, C, F, H, W]``; deeper levels are found from each call's own token count."""
    sample: Tensor = arguments["sample"]
    return sample.shape[2], sample.shape[3], sample.shape[4]


def _patched(model: nn.Module, frames: int, height: int, width: int) -> Volume:
    time, down, right = patch_of(model)
    return frames // time, height // down, width // right
