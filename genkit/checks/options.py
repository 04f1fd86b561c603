"""Arguments of a pipeline's call without a name in genkit: their valid values, and their form in a recipe.

A pipeline's arguments are numbers and texts, which a recipe stores; tensors, images and functions, which are accepted
and named in the recipe by hash or name; and a few that genkit sets itself, which are refused.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from genkit.checks.values import (
    flag,
    function,
    is_tensor,
    mapping,
    names,
    quote,
    real,
    real_or_reals,
    reals,
    text,
    whole,
)
from genkit.errors import UsageError

Check = Callable[[str, Any], Any]
"""``(name, value) -> value`` in the pipeline's form, or ``UsageError``."""
TENSOR, IMAGE, FUNCTION = "tensor", "image", "function"
"""First words of the texts by which a recipe names what it cannot store."""

OWN = {
    "output_type": "genkit decodes the frames itself, as video.frames in [0, 1]; leave it out",
    "return_dict": "genkit returns a video; leave it out",
    "generator": "genkit draws the noise itself, so that a file can be made again; give seed, your own latents, or "
    "generators to generate_many",
    "frame_rate": "genkit calls it fps; use that",
}
"""Arguments that genkit sets itself, with what to do instead."""


def tensor(name: str, value: Any) -> Any:
    """Return a torch tensor for one video, batch first, with only finite numbers.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, str) and value.startswith((TENSOR, IMAGE)):
        raise UsageError(
            f"{name} was given by a program ({quote(value)[1:-1]}), and no file contains it; pass it again from "
            f"Python, or continue without it by {name}=null"
        )
    if not is_tensor(value) or not hasattr(value, "isfinite"):
        raise UsageError(f"{name}={quote(value)} must be a torch tensor, which only Python can pass")
    if value.ndim < 1 or value.shape[0] != 1:
        raise UsageError(f"{name} has shape {list(value.shape)}; a call makes one video, so its first axis must be 1")
    if "mask" not in name and not value.is_floating_point():
        raise UsageError(f"{name} has numbers of type {value.dtype}; pass floating point")
    if value.is_meta or not bool(value.isfinite().all()):
        raise UsageError(f"{name} of shape {list(value.shape)} contains NaN or infinity, or no numbers at all")
    return value


def only_one(name: str, value: Any) -> int:
    """Return 1, the number of videos that a call makes; raise ``UsageError`` for more."""
    if whole(name, value) != 1:
        raise UsageError(
            f"{name}={quote(value)} would make more videos than one; generate_many returns all of them, and "
            "`genkit generate --num-videos` writes them"
        )
    return 1


def images(name: str, value: Any) -> Any:
    """Return images or tensors, or lists of them; raise ``UsageError`` for anything else."""
    if isinstance(value, str):
        return tensor(name, value)
    for item in value if isinstance(value, list | tuple) else [value]:
        if not (is_tensor(item) or hasattr(item, "getbands") or isinstance(item, list)):
            raise UsageError(f"{name}={quote(value)} must be an image or a tensor, which only Python can pass")
    return value


def refuse_own(name: str, value: Any) -> Any:
    """Raise ``UsageError``: genkit sets the argument itself."""
    raise UsageError(f"{name}={quote(value)} cannot be used: {OWN[name]}")


not_negative = partial(real, minimum=0)
CHECKS: dict[str, Check] = {
    **dict.fromkeys(OWN, refuse_own),
    **dict.fromkeys(("height", "width", "num_inference_steps"), whole),
    **dict.fromkeys(("max_sequence_length", "decode_chunk_size", "callback_steps"), whole),
    **dict.fromkeys(("guidance_scale", "guidance_scale_2", "true_cfg_scale", "guidance_rescale", "eta"), not_negative),
    **dict.fromkeys(("negative_prompt", "prompt_2", "negative_prompt_2"), text),
    **dict.fromkeys(("latents", "prompt_embeds", "negative_prompt_embeds"), tensor),
    **dict.fromkeys(("pooled_prompt_embeds", "negative_pooled_prompt_embeds"), tensor),
    **dict.fromkeys(("prompt_attention_mask", "negative_prompt_attention_mask"), tensor),
    **dict.fromkeys(("attention_kwargs", "cross_attention_kwargs", "prompt_template"), mapping),
    **dict.fromkeys(("callback_on_step_end", "callback"), function),
    **dict.fromkeys(("decode_timestep", "decode_noise_scale"), real_or_reals),
    **dict.fromkeys(("sigmas", "timesteps"), reals),
    **dict.fromkeys(("ip_adapter_image", "ip_adapter_image_embeds"), images),
    "callback_on_step_end_tensor_inputs": names,
    **dict.fromkeys(("num_videos_per_prompt", "num_images_per_prompt"), only_one),
    "use_dynamic_cfg": flag,
    "num_frames": partial(whole, minimum=None),
    "clip_skip": partial(whole, minimum=0),
}
"""Valid values of each argument of the supported pipelines; ``prompt`` is genkit's own and has separate rules."""


def check_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not None, each in the pipeline's form.

    Needs no pipeline, so that it runs before one is loaded. An argument that no supported pipeline has is left to the
    pipeline, if a recipe can name it.

    Raises:
        UsageError: an argument is genkit's own, of the wrong type, not finite, or cannot be named in a recipe.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    values = {name: CHECKS[name](name, value) if name in CHECKS else value for name, value in given.items()}
    for name, value in values.items():
        to_json(name, value)
    return values


def to_json(name: str, value: Any) -> Any:
    """Return a value as complete JSON, or its name: tensors and images by a hash, functions by their names.

    Raises:
        UsageError: it is neither, or contains NaN.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return text(name, value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if is_tensor(value):
        return _scalar(name, value) if value.ndim == 0 else _tensor_name(value)
    if hasattr(value, "getbands"):
        return f"{IMAGE} {value.mode} {value.width}x{value.height} sha256:{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: to_json(f"{name}[{key!r}]", item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # diffusers' conditions, with their images
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {key: to_json(f"{name}.{key}", item) for key, item in held.items() if item is not None}
    if isinstance(value, list | tuple):
        return [to_json(f"{name}[{place}]", item) for place, item in enumerate(value)]
    if callable(value) and not isinstance(value, type):
        named = value if hasattr(value, "__qualname__") else type(value)
        return f"{FUNCTION} {getattr(named, '__module__', 'builtins')}.{named.__qualname__}"
    raise UsageError(f"{name}={quote(value)} cannot be stored in the recipe of the video; leave it out")


def _scalar(name: str, value: Any) -> Any:
    return to_json(name, value.item())


def _tensor_name(value: Any) -> str:
    """Return type, shape and hash of the numbers, row by row."""
    if hasattr(value, "detach"):
        import torch

        plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    else:
        plain = value
    kind = str(value.dtype).removeprefix("torch.")
    return f"{TENSOR} {kind} {list(value.shape)} sha256:{hashlib.sha256(plain.tobytes()).hexdigest()}"
