"""Which plug-ins cannot be combined, and why: two with one claim, and a few exceptions by name."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from genkit.errors import UsageError
from genkit.plugins.contract import Plugin
from genkit.plugins.sparse.method import Sparse

REASONS = {
    frozenset(
        {"fifo", "timeline"}
    ): "an event holds at its time of the whole video, and a forward of FIFO sees a window that "
    "does not know where it lies; use freenoise, or one prompt",
    frozenset({"freelong", "freenoise"}): "both plan the noise and both put attention into windows; FreeLong already "
    "starts from FreeNoise's noise, so use freelong alone",
    frozenset({"frame-anchors", "freenoise"}): "FreeNoise's windows are as long as the training, and of so few frames "
    "frame-anchors leaves out none; leave one out",
}
"""Pairs of plug-in names whose reason claims do not give, or give less well."""


def check_together(plugins: Sequence[Plugin]) -> None:
    """Raise ``UsageError`` if two of the plug-ins cannot be combined, or one does not declare its claims."""
    for plugin in plugins:
        if not hasattr(plugin, "claims"):
            raise UsageError(
                f"the plug-in {plugin.name} does not declare what it claims; give its class a `claims: "
                "ClassVar[frozenset[str]]`, which is frozenset() where it claims nothing"
            )
    for one, other in combinations(plugins, 2):
        reason = conflict(one, other)
        if reason is not None:
            raise UsageError(f"{one.name} and {other.name} cannot be combined: {reason}")


def conflict(one: Plugin | type[Plugin], other: Plugin | type[Plugin]) -> str | None:
    """Return why two plug-ins cannot be combined; None if they can.

    Of classes, only what holds for all values of their parameters is said.
    """
    if one.name == other.name:
        return "a plug-in can be in a pipeline only once; leave one out"
    if reason := REASONS.get(frozenset({one.name, other.name})):
        return reason
    if claimed := sorted(one.claims & other.claims):
        return f"both claim {' and '.join(claimed)}, and a pipeline takes one plug-in for a claim; leave one out"
    return _idle(one, other) or _idle(other, one)


def _idle(one: Plugin | type[Plugin], freelong: Any) -> str | None:
    """Return why a sparse method would never run: FreeLong's windows are dense to it, and its attention over all frames
    ends before the method begins."""
    if not isinstance(one, Sparse) or one.can_hide_frames or freelong.name != "freelong" or isinstance(freelong, type):
        return None
    if freelong.until > one.dense_steps:
        return None
    return (
        f"{one.name} cannot be sparse in FreeLong's windows, and FreeLong's attention over all frames ends "
        f"(until={freelong.until}) before {one.name} begins (dense_steps={one.dense_steps}); raise until"
    )
