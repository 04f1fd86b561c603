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
"""The module of each suite. Its ``SUITE`` is read when it is asked for, or, if it has modes, its ``suite_with``."""


def suite_named(name: str, *, mode: str | None = None, allow_random: bool = False, only: Iterable[str] = ()) -> Suite:
    """Return a suite.

    Args:
        name: a key of :data:`SUITES`.
        mode: of a suite with modes; None is its first.
        allow_random: of a suite with networks, let weights be drawn that are not found.
        only: names of its metrics; all if empty.

    Raises:
        UsageError: there is no such suite, mode or metric, or the suite has no modes or no weights of this kind.
    """
    if name not in SUITES:
        raise UsageError(f"there is no suite {name!r}; {nearest(name, SUITES)}")
    module = import_module(SUITES[name])
    if hasattr(module, "suite_with"):
        suite = module.suite_with(mode=mode or module.MODES[0], allow_random=allow_random)
    else:
        if mode is not None:
            raise UsageError(f"suite {name!r} has one way to read its measurements; leave --mode out")
        if allow_random:
            raise UsageError(f"suite {name!r} draws no weights; leave --allow-random out")
        suite = module.SUITE
    only = tuple(only)
    return suite.restricted(only) if only else suite
