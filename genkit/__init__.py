"""Make the text-to-video model you already have faster, longer and directable, without training."""

from importlib import import_module
from typing import Any

from genkit.plugins.builtin import PLUGINS

__version__ = "0.1.0"
__distribution__ = "genkit-video"
"""Distinguishes this package from PyPI's `genkit`, which is another project."""

_EXPORTS = {
    "load": "genkit.loading",
    "apply": "genkit.generation.handle",
    "generate": "genkit.generation.handle",
    "generate_many": "genkit.generation.handle",
    "remove": "genkit.generation.asked",
    "Handle": "genkit.generation.handle",
    "make": "genkit.making",
    "register": "genkit.pipelines.known",
    "check": "genkit.conformance.check",
    "Conformance": "genkit.conformance.report",
    "ModelFacts": "genkit.attention.facts.model_facts",
    "PipelineFacts": "genkit.pipelines.pipeline_facts",
    "Input": "genkit.attention.facts.inputs",
    "Published": "genkit.pipelines.pipeline_facts",
    "trace": "genkit.tracing.trace",
    "Trace": "genkit.tracing.trace",
    "probe": "genkit.probing.probe",
    "Probe": "genkit.probing.probe",
    "Request": "genkit.request",
    "Video": "genkit.video.video",
    "read": "genkit.video.video",
    "GenkitError": "genkit.errors",
    "UsageError": "genkit.errors",
} | {name: module for module, _, name in (place.partition(":") for place in PLUGINS.values())}
"""By public name, the module that it comes from; every plug-in class is public."""

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import genkit`` stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'genkit' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
