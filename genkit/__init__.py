"""Make the text-to-video model you already have faster, longer and directable, without training."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__distribution__ = "genkit-video"
"""Tells this package from PyPI's `genkit`, which is another project."""

_EXPORTS = {
    "load": "genkit.loading",
    "apply": "genkit.handle",
    "generate": "genkit.handle",
    "Handle": "genkit.handle",
    "make": "genkit.making",
    "probe": "genkit.probing",
    "Probe": "genkit.probing",
    "Request": "genkit.request",
    "Video": "genkit.video",
    "read": "genkit.video",
    "AdaSpa": "genkit.plugins.adaspa",
    "FirstBlockCache": "genkit.plugins.caches",
    "FrameAnchors": "genkit.plugins.frame_anchors",
    "FreeLong": "genkit.plugins.freelong",
    "FreeNoise": "genkit.plugins.freenoise",
    "MagCache": "genkit.plugins.caches",
    "PyramidAttentionBroadcast": "genkit.plugins.caches",
    "Radial": "genkit.plugins.radial",
    "SVG": "genkit.plugins.svg",
    "SVG2": "genkit.plugins.svg2",
    "SlidingTile": "genkit.plugins.sliding_tile",
    "SpargeAttention": "genkit.plugins.sparge",
    "TaylorSeer": "genkit.plugins.caches",
    "Threshold": "genkit.plugins.threshold",
    "Timeline": "genkit.plugins.timeline",
    "VMoBA": "genkit.plugins.vmoba",
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
