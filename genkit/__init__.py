"""Make the text-to-video model you already have faster, longer and directable, without training."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__distribution__ = "genkit-video"
"""Tells this package from PyPI's `genkit`, which is another project."""

_EXPORTS = {
    "load": "genkit.loading",
    "apply": "genkit.generation.handle",
    "generate": "genkit.generation.handle",
    "Handle": "genkit.generation.handle",
    "make": "genkit.making",
    "probe": "genkit.probing.probe",
    "Probe": "genkit.probing.probe",
    "Request": "genkit.request",
    "Video": "genkit.video.video",
    "read": "genkit.video.video",
    "AdaSpa": "genkit.plugins.sparse.adaspa",
    "FirstBlockCache": "genkit.plugins.caches.methods",
    "FrameAnchors": "genkit.plugins.sparse.frame_anchors",
    "FreeLong": "genkit.plugins.longer.freelong",
    "FreeNoise": "genkit.plugins.longer.freenoise",
    "MagCache": "genkit.plugins.caches.methods",
    "PositionInterpolation": "genkit.plugins.longer.position_interpolation",
    "PyramidAttentionBroadcast": "genkit.plugins.caches.methods",
    "RIFLEx": "genkit.plugins.longer.riflex",
    "Radial": "genkit.plugins.sparse.radial",
    "SVG": "genkit.plugins.sparse.svg",
    "SVG2": "genkit.plugins.sparse.svg2",
    "SlidingTile": "genkit.plugins.sparse.sliding_tile",
    "SpargeAttention": "genkit.plugins.sparse.sparge",
    "TaylorSeer": "genkit.plugins.caches.methods",
    "Threshold": "genkit.plugins.sparse.threshold",
    "Timeline": "genkit.plugins.prompts.timeline",
    "VMoBA": "genkit.plugins.sparse.vmoba",
    "GenkitError": "genkit.errors",
    "UsageError": "genkit.errors",
}

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import genkit`` stays quick."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'genkit' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
