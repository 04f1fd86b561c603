"""Conflicts of plug-ins: the same claim twice, and a few pairs by name."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from genkit.errors import UsageError
from genkit.plugins.contract import Plugin
from genkit.plugins.sparse.method import Sparse

REASONS = {
    frozenset({"fifo", "timeline"}): "events have times in the whole video, and FIFO's forwards do not know which part "
    "of it they see; use freenoise, or one prompt",
    frozenset({"freelong", "freenoise"}): "both change the noise and restrict attention to windows; FreeLong already "
    "starts from FreeNoise's noise, so use freelong alone",
    frozenset(
        {"frame-anchors", "freenoise"}
    ): "FreeNoise's windows have the training length, and within it frame-anchors skips no frame; leave one out",
}
"""Reasons for pairs of plug-ins that claims do not explain, or not as well."""
APART = {
    frozenset(
        {"frame logits", "sparse attention"}
    ): "the blocks of sparse attention are computed without changes of the logits between frames; leave one out",
}
"""Reasons that two claims exclude one another."""


def check_together(plugins: Sequence[Plugin]) -> None:
    """Raise ``UsageError`` if two plug-ins cannot be combined, or one does not declare its claims."""
    for plugin in plugins:
        if not hasattr(plugin, "claims"):
            raise UsageError(
                f"the plug-in {plugin.name} does not declare what it claims; give its class a `claims: "
                "ClassVar[frozenset[str]]`, which is frozenset() if it claims nothing"
            )
    for one, other in combinations(plugins, 2):
        reason = conflict(one, other)
        if reason is not None:
            raise UsageError(f"{one.name} and {other.name} cannot be combined: {reason}")


def conflict(one: Plugin | type[Plugin], other: Plugin | type[Plugin]) -> str | None:
    """Return the reason that two plug-ins cannot be combined; None if they can.

    For classes, only conflicts that do not depend on parameters count.
    """
    if one.name == other.name:
        return "a plug-in can be in a pipeline only once; leave one out"
    if reason := REASONS.get(frozenset({one.name, other.name})):
        return reason
    if claimed := sorted(one.claims & other.claims):
        return f"both claim {' and '.join(claimed)}, and only one plug-in can have a claim; leave one out"
    for claims, reason in APART.items():
        if claims <= one.claims | other.claims:
            return reason
    return _idle(one, other) or _idle(other, one)


def _idle(one: Plugin | type[Plugin], freelong: Any) -> str | None:
    """Return the reason that a sparse method never runs with FreeLong, because it cannot enter the windows and begins
    after the attention over all frames has ended."""
    if not isinstance(one, Sparse) or one.can_hide_frames or freelong.name != "freelong" or isinstance(freelong, type):
        return None
    if freelong.until > one.dense_steps:
        return None
    return (
        f"{one.name} cannot be sparse in FreeLong's windows, and FreeLong's attention over all frames ends "
        f"(until={freelong.until}) before {one.name} begins (dense_steps={one.dense_steps}); raise until"
    )
