"""A modular pipeline, which diffusers makes of blocks, from a folder or a hub."""

from pathlib import Path
from typing import Any

import torch

from genkit.attention.private import CLASS_KEY
from genkit.errors import GenkitError, UsageError
from genkit.pipelines.matching import check_index

INDEX, OTHER = "modular_model_index.json", "model_index.json"


def has_blocks_alone(folder: str) -> bool:
    """Return True for a folder with a modular pipeline and no other."""
    return (Path(folder) / INDEX).is_file() and not (Path(folder) / OTHER).is_file()


def open_modular(where: str, dtype: torch.dtype, given: dict[str, Any], known: bool = True) -> Any:
    """Open a modular pipeline with all its parts; a folder is opened without a network.

    Args:
        where: folder or hub id.
        dtype: precision of the weights.
        given: further wishes by name, which only other pipelines can fulfil; empty values are none.
        known: refuse a model of an unknown family.

    Raises:
        UsageError: it is of an unknown family, or something was wished for.
        GenkitError: a part of it cannot be opened.
    """
    from diffusers import ModularPipeline

    if wished := next((name for name, value in given.items() if value), None):
        raise UsageError(
            f"{wished} is for pipelines that are not modular; open that part with diffusers, and give it "
            "to the pipeline with update_components()"
        )
    offline = {"local_files_only": True} if Path(where).is_dir() else {}
    index = ModularPipeline.load_config(where, **offline)
    if known:
        _check(index)
    # Explicit, not left to a default: a model's folder may bring code of its own.
    pipe = ModularPipeline.from_pretrained(where, trust_remote_code=False, **offline)
    pipe.load_components(dtype=dtype, **offline)
    _check_complete(pipe, index)
    return pipe


def _check(index: dict[str, Any]) -> None:
    """Refuse a model of an unknown family by its index alone, before any weights are read or downloaded."""
    import diffusers

    kind = getattr(diffusers, str(index.get(CLASS_KEY)), None)
    if isinstance(kind, type):  # anything else is for diffusers to judge
        check_index(kind, index)


def _check_complete(pipe: Any, index: dict[str, Any]) -> None:
    """Refuse a pipeline without a part that its index names; diffusers only warns of it."""
    named = [name for name, value in index.items() if isinstance(value, list | tuple) and value[1] is not None]
    missing = [name for name in pipe.null_component_names if name in named]
    if missing:
        raise GenkitError(f"its {' and its '.join(missing)} cannot be opened; is the download complete?")
