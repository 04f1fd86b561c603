"""Memory of a run: the minimum it needs, what would fit, and the message when memory ran out."""

import math
import traceback
from typing import Any

import torch

from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import configured, patch_of
from genkit.attention.private import EXECUTION_DEVICE
from genkit.checks.latents import latents_like, size_of
from genkit.checks.memory import free_memory
from genkit.errors import UsageError, first_line

GIB, COUNTABLE = 2**30, 2**50
"""Bytes of a GiB, and the number of pixels beyond which the frames alone are too large."""
LIVE = 4
"""Tensors of all tokens that a layer keeps at the same time: its input, queries, keys and values."""


def check_memory(
    pipe: Any, card: Card, arguments: dict[str, Any], window: int | None = None, streams: bool = False
) -> None:
    """Refuse a video that cannot fit into the free memory, before anything runs.

    Only the unavoidable minimum is counted, so that nothing is refused that could be made. ``window``: pixel frames
    that the model sees at once; None is all. ``streams``: True if frames leave the decoder's device piece by piece.

    Raises:
        UsageError: it cannot fit; the message names the number of frames that would.
    """
    size, device = size_of(pipe, card, arguments), torch.device(EXECUTION_DEVICE.read(pipe))
    if len(size) < 3:
        return
    for where, need in needed_bytes(pipe, card, arguments, size, device, window, streams).items():
        free = free_bytes(torch.device(where))
        if free is not None and need > free:
            fewer = _suggest(pipe, card, size, free / need)
            raise UsageError(
                f"num_frames={size['num_frames']} at {size['height']}x{size['width']} need {need / GIB:,.1f} GiB of "
                f"memory on {where} or more, but {free / GIB:,.1f} GiB are free; {fewer}"
            )


def needed_bytes(
    pipe: Any,
    card: Card,
    arguments: dict[str, Any],
    size: dict[str, int],
    device: torch.device,
    window: int | None = None,
    streams: bool = False,
) -> dict[str, int]:
    """Return the minimum memory besides the weights, in bytes by device: the larger of denoising and decoding."""
    pixels = 3 * math.prod(size.values())
    decoded, kept = pixels * _width_of(pipe.vae), pixels * 4  # the decoder's output, and its copy in float32
    seen = arguments | {"num_frames": min(size["num_frames"], window or size["num_frames"])}
    model, latents = card.model(pipe), latents_like(pipe, card, seen) if pixels < COUNTABLE else None
    tokens = 0 if latents is None else latents.numel() // model.config.in_channels // math.prod(patch_of(model))
    denoising = tokens * _channels(model) * LIVE * _width_of(model)
    if device.type == "cpu":
        return {"cpu": max(denoising, decoded + kept)}
    if streams:
        return {str(device): denoising, "cpu": decoded + kept}
    return {str(device): max(denoising, decoded), "cpu": kept}


def free_bytes(device: torch.device) -> int | None:
    """Return the memory available on a device in bytes, including the allocator's reserve; None if unknown."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    return free_memory()


def out_of_memory(pipe: Any, card: Card, arguments: dict[str, Any], error: BaseException, when: str) -> str:
    """Return the message for a run that ran out of memory ``when``, and release what its frames referenced."""
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    size, device = size_of(pipe, card, arguments), str(EXECUTION_DEVICE.read(pipe))
    offload = "" if device == "cpu" else ", or offload='model'"
    video = f"{size['num_frames']} frames of {size['height']}x{size['width']}" if len(size) == 3 else "the video"
    fewer = _suggest(pipe, card, size, 0.5) if len(size) == 3 else "make fewer frames"
    return (
        f"the memory of {device} was full {when}, with {video} ({first_line(error)[:200]}); try less: {fewer}, or a "
        f"smaller height and width{offload}"
    )


def _suggest(pipe: Any, card: Card, size: dict[str, int], share: float) -> str:
    """Return how many frames fit into ``share`` of the memory, as a clause."""
    step = card.frame_step(pipe)
    fewer = (int(size["num_frames"] * share) - 1) // step * step + 1
    if fewer < 1:
        return "not even one frame of this size would fit, so make it smaller"
    return f"{fewer} frames would fit" if fewer > 1 else "1 frame would fit"


def _channels(model: Any) -> int:
    heads, width = configured(model, "num_attention_heads"), configured(model, "attention_head_dim")
    blocks = configured(model, "block_out_channels")
    return int(blocks[0]) if blocks else int(heads) * int(width) if heads and width else 0


def _width_of(part: Any) -> int:
    return int(torch.empty((), dtype=part.dtype, device="meta").element_size())
