"""The suites by name."""

from collections.abc import Iterable
from importlib import import_module

from genkit.benchmarks.evaluate.metric import Suite
from genkit.errors import UsageError, nearest

SUITES = {
    "lite": "genkit.benchmarks.suites.lite",
    "similarity": "genkit.benchmarks.suites.similarity",
    "sprites": "genkit.benchmarks.suites.sprites",
    "vbench": "genkit.benchmarks.suites.vbench",
}
"""Module of each suite. Its ``SUITE`` is read on demand, or its ``suite_with`` if it has modes."""


def find_suite(name: str, *, mode: str | None = None, allow_random: bool = False, only: Iterable[str] = ()) -> Suite:
    """Return a suite.

    Args:
        name: a key of :data:`SUITES`.
        mode: for suites with modes; None is the first.
        allow_random: for suites with networks: use random weights where none are found.
        only: names of its metrics; all if empty.

    Raises:
        UsageError: there is no such suite, mode or metric, or the suite has no modes or no networks.
    """
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}; {nearest(name, SUITES)}")
    module = import_module(SUITES[name])
    if hasattr(module, "suite_with"):
        suite = module.suite_with(mode=mode or module.MODES[0], allow_random=allow_random)
    else:
        if mode is not None:
            raise UsageError(f"suite {name!r} has no modes; leave --mode out")
        if allow_random:
            raise UsageError(f"suite {name!r} has no networks; leave --allow-random out")
        suite = module.SUITE
    only = tuple(only)
    return suite.restrict(only) if only else suite
