"""Which plug-ins cannot be combined, and why."""

from collections.abc import Sequence
from itertools import combinations

from genkit.errors import UsageError
from genkit.plugin import Plugin

REASONS = {
    frozenset({"freelong", "freenoise"}): "both plan the noise and both put attention into windows; FreeLong already "
    "starts from FreeNoise's noise, so use freelong alone",
}
"""Pairs of plug-in names and the reason why only one of them can be in a pipeline."""


def check_together(plugins: Sequence[Plugin]) -> None:
    """Raise ``UsageError`` if two of the plug-ins cannot be combined."""
    for one, other in combinations(plugins, 2):
        reason = conflict(one.name, other.name)
        if reason is not None:
            raise UsageError(f"{one.name} and {other.name} cannot be combined: {reason}")


def conflict(one: str, other: str) -> str | None:
    """Why two plug-ins, by name, cannot be combined; None if they can."""
    if one == other:
        return "a plug-in can be in a pipeline only once; leave one out"
    return REASONS.get(frozenset({one, other}))
