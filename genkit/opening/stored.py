"""Where and how opened weights are stored and run: offload, layerwise casting, compilation."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from genkit.checks.values import quote
from genkit.errors import UsageError, first_line, nearest

OFFLOADS = ("model", "sequential", "group")
"""Kinds of CPU offload: whole parts, layer by layer, and groups of layers that are fetched while others compute."""
LAYERWISE = {"float8": torch.float8_e4m3fn}
COMPILES = ("blocks", "model")
DENOISERS = ("transformer", "transformer_2", "unet")
"""Parts that are cast and compiled, if present."""


def check_stored(offload: Any, layerwise: Any, compile: Any, quantize: Any, where: str) -> None:
    """Raise ``UsageError`` for an unknown value, or one that ``where``, the name of a device, cannot run."""
    _check_known("offload", offload, OFFLOADS)
    _check_known("layerwise", layerwise, tuple(LAYERWISE))
    _check_known("compile", compile, COMPILES)
    if offload is not None and where.startswith("cpu"):
        raise UsageError(
            f"offload={offload!r} moves parts between CPU and a GPU, and there is no GPU here; leave it out"
        )
    if layerwise is not None and where.startswith("mps"):
        raise UsageError(f"layerwise={layerwise!r}: PyTorch has no float8 on Apple GPUs; leave it out")
    if layerwise is not None and quantize is not None:
        raise UsageError(f"layerwise={layerwise!r} casts weights that quantize={quantize!r} has made small; use one")
    if compile is not None and where.startswith("cpu") and not _has_compiler():
        raise UsageError(f"compile={compile!r} on a CPU needs a C++ compiler (g++ or clang++); install one")


def place(pipe: Any, offload: str | None, where: str, move: bool) -> None:
    """Offload a pipeline, or move it to a device.

    Args:
        offload: one of ``OFFLOADS``; None keeps all parts in one place.
        where: the device that computes.
        move: False leaves a pipeline that is not offloaded where it is.
    """
    if offload is not None and not hasattr(pipe, "enable_model_cpu_offload"):
        raise UsageError(
            f"offload={offload!r}: {type(pipe).__name__} is modular and has no offload of its own; make it with a "
            "diffusers.ComponentsManager, call enable_auto_cpu_offload() of that, and give the pipeline to genkit"
        )
    if offload == "group":
        pipe.enable_group_offload(
            onload_device=torch.device(where), offload_type="leaf_level", use_stream=where.startswith("cuda")
        )
    elif offload is not None:
        enable = pipe.enable_model_cpu_offload if offload == "model" else pipe.enable_sequential_cpu_offload
        enable(device=where)
    elif move:
        pipe.to(where)


def cast_layers(pipe: Any, layerwise: str | None) -> None:
    """Store the weights of the denoising models in float8; each layer computes in the precision they had.

    Raises:
        UsageError: diffusers cannot do that to this model.
    """
    if layerwise is not None:
        _each(pipe, f"layerwise={layerwise!r}", lambda model: _cast(model, LAYERWISE[layerwise]))


def compile_models(pipe: Any, compile: str | None) -> None:
    """Compile the denoising models with ``torch.compile``: whole, or each of the blocks that they repeat.

    Raises:
        UsageError: diffusers does not know the repeated blocks of this model.
    """
    if compile == "blocks":
        _each(pipe, "compile='blocks'", lambda model: model.compile_repeated_blocks())
    elif compile == "model":
        _each(pipe, "compile='model'", lambda model: model.compile())


def _cast(model: Any, storage: torch.dtype) -> None:
    if getattr(model, "hf_quantizer", None) is not None:
        raise ValueError("its weights are quantised already")
    model.enable_layerwise_casting(storage_dtype=storage, compute_dtype=model.dtype)


def _each(pipe: Any, asked: str, act: Callable[[Any], Any]) -> None:
    for model in _denoisers(pipe):
        try:
            act(model)
        except (ValueError, AttributeError, NotImplementedError) as error:
            raise UsageError(
                f"{asked} is not possible with a {type(model).__name__}: {first_line(error)}; leave it out"
            ) from error


def _denoisers(pipe: Any) -> Iterator[nn.Module]:
    for name in DENOISERS:
        model = getattr(pipe, name, None)
        if isinstance(model, nn.Module):
            yield model


def _check_known(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"{name}={quote(value)} is unknown; {nearest(str(value), known)}")


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "c++", "cl") if name)
