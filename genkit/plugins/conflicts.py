"""Which plug-ins cannot be combined, and why."""

from collections.abc import Sequence
from itertools import combinations

from genkit.errors import UsageError
from genkit.plugins.contract import Plugin
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.sparse.method import Sparse

REASONS = {
    frozenset({"freelong", "freenoise"}): "both plan the noise and both put attention into windows; FreeLong already "
    "starts from FreeNoise's noise, so use freelong alone",
    frozenset({"frame-anchors", "freenoise"}): "FreeNoise's windows are as long as the training, and of so few frames "
    "frame-anchors leaves out none; leave one out",
}
"""Pairs of plug-in names and the reason why only one of them can be in a pipeline."""


def check_together(plugins: Sequence[Plugin]) -> None:
    """Raise ``UsageError`` if two of the plug-ins cannot be combined."""
    for one, other in combinations(plugins, 2):
        reason = conflict(one, other)
        if reason is not None:
            raise UsageError(f"{one.name} and {other.name} cannot be combined: {reason}")


def conflict(one: Plugin | type[Plugin], other: Plugin | type[Plugin]) -> str | None:
    """Why two plug-ins cannot be combined; None if they can. Of classes only what holds for all parameters is told."""
    if one.name == other.name:
        return "a plug-in can be in a pipeline only once; leave one out"
    choice = getattr(one, "choice", None)
    if choice is not None and choice == getattr(other, "choice", None):
        return f"both are a kind of {choice}, and a pipeline takes one of a kind; leave one out"
    return REASONS.get(frozenset({one.name, other.name})) or _idle(one, other) or _idle(other, one)


def _idle(one: object, other: object) -> str | None:
    """Why a sparse method would never be asked: FreeLong's windows are dense to it, and its attention over all frames
    ends before the method begins."""
    if not (isinstance(one, Sparse) and isinstance(other, FreeLong)) or one.can_hide_frames:
        return None
    if other.until > one.dense_steps:
        return None
    return (
        f"{one.name} cannot be sparse in FreeLong's windows, and FreeLong's attention over all frames ends "
        f"(until={other.until}) before {one.name} begins (dense_steps={one.dense_steps}); raise until"
    )
