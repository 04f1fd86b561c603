"""Which pipelines of the installed diffusers make video: read from the classes, so that a new release shows itself."""

import inspect
import sys
from functools import cache
from typing import Any

import diffusers
from diffusers import DiffusionPipeline

VIDEO_ARGUMENTS = frozenset({"num_frames", "frames", "video_length", "segment_frame_length", "video", "fps"})
"""Arguments of ``__call__`` that only pipelines of video have."""


@cache
def video_pipelines() -> tuple[str, ...]:
    """Return the names of every exported pipeline class that takes a length or a video, or that answers frames."""
    return tuple(name for name in dir(diffusers) if "Pipeline" in name and _makes_video(_pipeline(name)))


@cache
def modular_pipelines() -> tuple[str, ...]:
    """Return the names of every exported modular pipeline whose blocks take a length or answer videos."""
    return tuple(name for name in dir(diffusers) if _is_modular_video(getattr(diffusers, name, None)))


def _is_modular_video(kind: Any) -> bool:
    modular = getattr(diffusers, "ModularPipeline", None)
    if modular is None or not inspect.isclass(kind) or not issubclass(kind, modular) or not kind.default_blocks_name:
        return False
    blocks = getattr(diffusers, kind.default_blocks_name)()
    return "num_frames" in blocks.input_names or "videos" in blocks.output_names


def _pipeline(name: str) -> type[DiffusionPipeline] | None:
    """Return the pipeline class of that name; None for other objects, and for stand-ins of missing packages."""
    found = getattr(diffusers, name, None)
    return found if inspect.isclass(found) and issubclass(found, DiffusionPipeline) else None


def _makes_video(pipeline: type[DiffusionPipeline] | None) -> bool:
    if pipeline is None:
        return False
    return bool(VIDEO_ARGUMENTS & set(inspect.signature(pipeline.__call__).parameters)) or _answers_frames(pipeline)


def _answers_frames(pipeline: type[DiffusionPipeline]) -> bool:
    """Return True if the module of the pipeline has an output class with a field ``frames``."""
    module = vars(sys.modules[pipeline.__module__])
    outputs = [found for name, found in module.items() if name.endswith("Output") and inspect.isclass(found)]
    return any("frames" in getattr(output, "__dataclass_fields__", {}) for output in outputs)
