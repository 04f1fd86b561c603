"""Whether two sides measured the same: every value, every decision, every name, within stated tolerances.

A side is a mapping by dimension of ``aggregate``, ``videos`` (values or decisions by file name) and, where it tells
more, ``curves`` (values along each video by file name).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Side = Mapping[str, Mapping[str, Any]]
VIDEO, AGGREGATE = 1e-5, 1e-6
"""How far the value of a video and an aggregate may lie apart where both sides run the same network."""
WITHOUT_NETWORK = {"temporal_flickering": 1e-6}
"""Dimensions without a network are held to less, also by video."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number or decision of both sides."""

    dimension: str
    """The dimension it belongs to."""
    what: str
    """``aggregate``, a file name, or a file name with a place."""
    official: Any
    """Of the official side; None where it has none."""
    ours: Any
    """Of genkit; None where it has none."""
    tolerance: float
    """The largest difference that passes."""

    @property
    def size(self) -> float:
        """How far they lie apart; infinite if they cannot be compared or are unequal decisions."""
        both = self.official, self.ours
        if any(isinstance(value, bool) for value in both):
            return 0.0 if all(isinstance(value, bool) for value in both) and both[0] is both[1] else math.inf
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in both):
            return math.inf
        return abs(self.official - self.ours)

    @property
    def passes(self) -> bool:
        """Whether it lies within the tolerance."""
        return self.size <= self.tolerance


def compare(official: Side, ours: Side, dimensions: Iterable[str] | None = None) -> list[Difference]:
    """Hold two sides against each other; a name that only one side has is an infinite difference.

    Args:
        official: the side that is right.
        ours: the side in question.
        dimensions: those to look at; None for all that either side has.
    """
    names = sorted(official.keys() | ours.keys()) if dimensions is None else dimensions
    return [difference for name in names for difference in _dimension(name, official.get(name), ours.get(name))]


def largest(differences: Iterable[Difference], dimension: str, *, aggregate: bool) -> float:
    """The largest size in a dimension, of its aggregate or of everything else; 0 if there is nothing."""
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
    """All values of a dimension by what they are."""
    if side is None:
        return {}
    curves = {f"{file}[{i}]": v for file, curve in side.get("curves", {}).items() for i, v in enumerate(curve)}
    return {"aggregate": side.get("aggregate")} | dict(side.get("videos", {})) | curves
