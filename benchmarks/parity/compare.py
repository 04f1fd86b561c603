"""Comparison of two sides: every value, every decision, every name, within stated tolerances.

A side is a mapping by dimension of ``aggregate``, ``videos`` (values or decisions by file name) and, if available,
``curves`` (values along each video by file name).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Side = Mapping[str, Mapping[str, Any]]
VIDEO, AGGREGATE = 1e-5, 1e-6
"""Tolerances of a video's value and of an aggregate where both sides run the same network."""
WITHOUT_NETWORK = {"temporal_flickering": 1e-6}
"""Tolerances of dimensions without a network, for videos and aggregates alike."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number or decision of both sides."""

    dimension: str
    """The dimension it belongs to."""
    what: str
    """``aggregate``, a file name, or a file name with an index."""
    official: Any
    """The official value; None if there is none."""
    ours: Any
    """Genkit's value; None if there is none."""
    tolerance: float
    """The largest difference that passes."""

    @property
    def size(self) -> float:
        """Their distance; infinite if they cannot be compared or are unequal decisions."""
        both = self.official, self.ours
        if any(isinstance(value, bool) for value in both):
            return 0.0 if all(isinstance(value, bool) for value in both) and both[0] is both[1] else math.inf
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in both):
            return math.inf
        return abs(self.official - self.ours)

    @property
    def passes(self) -> bool:
        """True if it is within the tolerance."""
        return self.size <= self.tolerance


def compare(official: Side, ours: Side, dimensions: Iterable[str] | None = None) -> list[Difference]:
    """Compare two sides; a name that only one side has is an infinite difference.

    Args:
        official: the reference side.
        ours: the side to check.
        dimensions: dimensions to compare; None for all that either side has.
    """
    names = sorted(official.keys() | ours.keys()) if dimensions is None else dimensions
    return [difference for name in names for difference in _dimension(name, official.get(name), ours.get(name))]


def largest(differences: Iterable[Difference], dimension: str, *, aggregate: bool) -> float:
    """Return the largest size in a dimension, of its aggregate or of all other values; 0 if there are none."""
    chosen = (item for item in differences if item.dimension == dimension and (item.what == "aggregate") == aggregate)
    return max((item.size for item in chosen), default=0.0)


def _dimension(name: str, official: Any, ours: Any) -> list[Difference]:
    both = [_flat(side) for side in (official, ours)]
    if not any(both):
        return [_difference(name, "aggregate", None, None)]
    return [_difference(name, what, both[0].get(what), both[1].get(what)) for what in sorted(both[0] | both[1])]


def _difference(name: str, what: str, official: Any, ours: Any) -> Difference:
    tolerance = WITHOUT_NETWORK.get(name, AGGREGATE if what == "aggregate" else VIDEO)
    return Difference(dimension=name, what=what, official=official, ours=ours, tolerance=tolerance)


def _flat(side: Any) -> dict[str, Any]:
    """Return all values of a dimension by name."""
    if side is None:
        return {}
    curves = {f"{file}[{i}]": v for file, curve in side.get("curves", {}).items() for i, v in enumerate(curve)}
    return {"aggregate": side.get("aggregate")} | dict(side.get("videos", {})) | curves
