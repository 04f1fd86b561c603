"""The smallest call of a pipeline that nothing is known of: two steps, a few frames, a few tokens."""

from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn

from genkit.attention.facts.volume import Arguments, patch_of
from genkit.errors import UsageError, first_line, is_out_of_memory
from genkit.recording.recording import Recording, denoisers, record

PROMPT, NEGATIVE = "a red circle moves right on a blue background", "blurry"
FRAMES, ROWS, COLS = 5, 3, 4
"""Tokens along each axis of the video that is asked for; three different numbers."""
SPATIAL = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_spatial_scale_factor", "vae_scale_factor")
"""Attributes of pipelines that say how many pixels a latent is wide."""
TEMPORAL = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
"""Attributes of pipelines that say how many frames a latent frame spans."""
LENGTHS = ("num_frames", "frames", "video_length", "segment_frame_length")
"""Arguments that pipelines call the number of frames."""
WITHOUT_TIME = 8
"""Frames that are asked for where none is left out in the latents."""


def record_small(pipe: Any, **given: Any) -> Recording:
    """Run a pipeline as small as it can be and return what happened, with ``record``.

    Args:
        pipe: a pipeline without plug-ins.
        given: arguments of its call; all others are chosen, and tried in a few sizes, and with images and videos.

    Raises:
        UsageError: it has plug-ins, no model that denoises, or no call that was tried worked; the message has the call.
    """
    _check(pipe, given)
    failed: tuple[Arguments, Exception] | None = None
    for arguments in small_calls(pipe, given):
        try:
            return record(pipe, **arguments)
        except Exception as error:
            failed = failed or (arguments, error)
            if is_out_of_memory(error):
                break
    assert failed is not None
    arguments, error = failed
    raise UsageError(
        f"{type(pipe).__name__} could not be run small: pipe({call_text(arguments)}) failed with "
        f"{type(error).__name__}: {first_line(error)}; give arguments that it takes, such as "
        "genkit.trace(pipe, num_frames=9, image=...)"
    ) from error


def _check(pipe: Any, given: Mapping[str, Any]) -> None:
    if getattr(pipe, "_genkit_handle", None) is not None:
        raise UsageError("this pipeline has plug-ins, which would be traced with it; remove() them first")
    if not denoisers(pipe):
        raise UsageError(f"{type(pipe).__name__} has no model that takes a timestep, so there is nothing to trace")
    unknown = sorted(set(given) - set(parameters_of(pipe)))
    if unknown:
        raise UsageError(
            f"{unknown[0]}: {type(pipe).__name__} does not take it; it takes {', '.join(parameters_of(pipe))}"
        )


def parameters_of(pipe: Any) -> dict[str, Parameter]:
    """Return the parameters of a pipeline's call by name."""
    return {name: one for name, one in signature(type(pipe).__call__).parameters.items() if name != "self"}


def small_calls(pipe: Any, given: Mapping[str, Any]) -> Iterator[Arguments]:
    """Yield arguments to try, the smallest and fewest first; those given are in all of them."""
    takes, tried = parameters_of(pipe), list[tuple[str, ...]]()
    required = [name for name, one in takes.items() if one.default is Parameter.empty and _is_seen(name)]
    for optional in ((), ("image",), ("video",), ("image", "last_image")):
        inputs = tuple(dict.fromkeys([*required, *(name for name in optional if name in takes)]))
        if inputs in tried:
            continue
        tried.append(inputs)
        for scale in (1, 2):
            yield _arguments(pipe, takes, inputs, scale, given)


def _arguments(pipe: Any, takes: Any, inputs: tuple[str, ...], scale: int, given: Mapping[str, Any]) -> Arguments:
    frames, height, width = (size * (scale if axis else 1) for axis, size in enumerate(sizes(pipe)))
    height, width = given.get("height", height), given.get("width", width)
    frames = next((given[name] for name in LENGTHS if name in given), frames)
    chosen: Arguments = {
        "prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "height": height,
        "width": width,
        "num_inference_steps": 2,
        "generator": torch.Generator("cpu").manual_seed(0),
        "seed": 0,
        "output_type": "latent",
    } | dict.fromkeys(LENGTHS, frames)
    seen = {name: _film(frames, height, width) if "video" in name else _picture(height, width) for name in inputs}
    return {name: value for name, value in (chosen | seen).items() if name in takes} | dict(given)


def sizes(pipe: Any) -> tuple[int, int, int]:
    """Return pixel frames, height and width of a video of ``FRAMES`` x ``ROWS`` x ``COLS`` tokens, by a guess."""
    model = next(iter(denoisers(pipe).values()))
    time, down, right = _patch(model)
    space = _number(pipe, SPATIAL) or 8
    stride = _number(pipe, TEMPORAL)
    frames = WITHOUT_TIME if stride is None else (FRAMES - 1) * stride * time + 1
    return frames, ROWS * max(space * down, 16), COLS * max(space * right, 16)


def _patch(model: nn.Module) -> tuple[int, int, int]:
    try:
        return patch_of(model)
    except (TypeError, ValueError):  # a configuration of another form
        return 1, 2, 2


def _number(pipe: Any, names: tuple[str, ...]) -> int | None:
    found = (getattr(pipe, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _is_seen(name: str) -> bool:
    return "image" in name or "video" in name


def _picture(height: int, width: int, shift: int = 0) -> Any:
    """Return an image in which no two columns and no two rows are alike."""
    import numpy as np
    from PIL import Image

    rows, cols = np.meshgrid(np.arange(height), np.arange(width) + shift, indexing="ij")
    colours = np.stack([255 * rows / height, 255 * (cols % width) / width, 127 + 127 * np.sin(rows + cols)], -1)
    return Image.fromarray(colours.astype(np.uint8))


def _film(frames: int, height: int, width: int) -> list[Any]:
    return [_picture(height, width, shift) for shift in range(frames)]


def call_text(arguments: Mapping[str, Any]) -> str:
    """Return the arguments of a call as one would write them, with large values left out."""
    plain = (str, int, float, bool, type(None))
    said = {name: repr(value) if isinstance(value, plain) else "..." for name, value in arguments.items()}
    return ", ".join(f"{name}={value}" for name, value in said.items() if name not in ("generator", "seed"))
