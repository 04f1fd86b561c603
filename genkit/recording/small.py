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
SCALES = (1, 2, 4)
"""Multiples of the smallest height and width that are tried, because some models make latents smaller inside."""
GUIDANCE = 3.0
SCALED = ("guidance_scale", "true_cfg_scale")
"""Arguments with the strength of guidance, so that all of its branches run."""
LENGTHS = ("num_frames", "frames", "video_length", "segment_frame_length")
"""Arguments that pipelines call the number of frames."""
WITHOUT_TIME = 7
"""Frames that are asked for where none is left out in the latents; the number of channels is rarely odd."""


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
    arguments, reason = failed
    raise UsageError(
        f"{type(pipe).__name__} could not be run small: pipe({call_text(arguments)}) failed with "
        f"{type(reason).__name__}: {first_line(reason)}; give arguments that it takes, such as "
        "genkit.trace(pipe, num_frames=9, image=...)"
    ) from reason


def _check(pipe: Any, given: Mapping[str, Any]) -> None:
    if getattr(pipe, "_genkit_handle", None) is not None:
        raise UsageError("this pipeline has plug-ins, which would be traced with it; remove() them first")
    if not denoisers(pipe):
        raise UsageError(f"{type(pipe).__name__} has no model that takes a timestep, so there is nothing to trace")
    takes = parameters_of(pipe)
    unknown = sorted(set(given) - set(takes))
    if unknown and Parameter.VAR_KEYWORD not in {one.kind for one in takes.values()}:
        raise UsageError(f"{unknown[0]}: {type(pipe).__name__} does not take it; it takes {', '.join(takes)}")
    missing = [name for name in required(takes) if name not in next(small_calls(pipe, given))]
    if missing:
        raise UsageError(
            f"{type(pipe).__name__} cannot be run without {missing[0]}, and nothing is known of that; give it, as in "
            f"genkit.trace(pipe, {missing[0]}=...)"
        )


def required(takes: Mapping[str, Parameter]) -> list[str]:
    """Return the names of parameters that have no default."""
    several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [name for name, one in takes.items() if one.default is Parameter.empty and one.kind not in several]


def parameters_of(pipe: Any) -> dict[str, Parameter]:
    """Return the parameters of a pipeline's call by name; those of its blocks, if it is made of blocks."""
    inputs = getattr(getattr(pipe, "blocks", None), "inputs", ())
    named = {one.name: one.default for one in inputs if one.name}
    named |= {one.name: Parameter.empty for one in inputs if one.required and is_seen(one.name or "")}
    if named:
        return {name: Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in named.items()}
    return {name: one for name, one in signature(type(pipe).__call__).parameters.items() if name != "self"}


def small_calls(pipe: Any, given: Mapping[str, Any]) -> Iterator[Arguments]:
    """Yield arguments to try, the smallest and fewest first; those given are in all of them.

    At last length or size are left to the pipeline, because some models have positions for one length or size alone.
    """
    takes, tried = parameters_of(pipe), list[tuple[str, ...]]()
    seen = list(filter(is_seen, required(takes)))
    for optional in ((), ("image",), ("video",), ("control_video",)):
        inputs = tuple(dict.fromkeys([*seen, *(name for name in optional if name in takes)]))
        if inputs in tried:
            continue
        tried.append(inputs)
        for scale in SCALES:
            yield _arguments(pipe, takes, inputs, scale, given)
        smallest = _arguments(pipe, takes, inputs, SCALES[0], given)
        for names in (LENGTHS, ("height", "width")):
            fewer = {name: value for name, value in smallest.items() if name not in names or name in given}
            if len(fewer) < len(smallest) and inputs == tried[0]:
                yield fewer


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
    chosen |= {name: GUIDANCE for name in SCALED if _is_off(takes.get(name))}
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


def _is_off(parameter: Parameter | None) -> bool:
    """Whether guidance is off by default."""
    return parameter is not None and isinstance(parameter.default, int | float) and parameter.default <= 1


def is_seen(name: str) -> bool:
    """Return True if the name of an argument says that it is an image or a video."""
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
