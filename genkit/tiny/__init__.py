"""The embedded model: a procedural world, a small pipeline trained on it, and the oracle that reads its videos."""

from pathlib import Path

TINY_WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the embedded model's pipeline."""
