"""The suites by name."""

from importlib import import_module

from genkit.benchmarks.metric import Suite
from genkit.errors import UsageError, nearest

SUITES = {
    "lite": "genkit.benchmarks.lite",
    "similarity": "genkit.benchmarks.similarity",
    "sprites": "genkit.benchmarks.sprites",
}
"""The module of each suite; its ``SUITE`` is read when it is asked for."""


def suite_named(name: str) -> Suite:
    """Return a suite.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}; {nearest(name, SUITES)}")
    return import_module(SUITES[name]).SUITE
