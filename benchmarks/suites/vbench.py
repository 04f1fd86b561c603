"""The suite ``vbench``: the seven dimensions of VBench that work on any video, in the official formulas.

Two modes read the same measurements: ``vbench-0.1.5`` aggregates as the official code does in a single process,
``fixed`` corrects its errors. The effect of a mode is reported with each metric; the rows of the ledger serve both, so
a run can be read in the other mode without running a network.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from genkit.benchmarks.evaluate.metric import Suite
from genkit.benchmarks.networks.weight_files import check_keys, resolve
from genkit.benchmarks.suites.vbench_dimension import Dimension
from genkit.benchmarks.suites.vbench_dimensions import (
    AestheticQuality,
    BackgroundConsistency,
    DynamicDegree,
    ImagingQuality,
    MotionSmoothness,
    SubjectConsistency,
    TemporalFlickering,
)
from genkit.benchmarks.suites.vbench_formulas import Mode
from genkit.benchmarks.suites.vbench_networks import BACKBONES
from genkit.errors import UsageError, nearest

MODES: tuple[Mode, ...] = ("vbench-0.1.5", "fixed")
"""The first is the default."""
_DIMENSIONS = (
    SubjectConsistency,
    BackgroundConsistency,
    TemporalFlickering,
    MotionSmoothness,
    DynamicDegree,
    AestheticQuality,
    ImagingQuality,
)
DIMENSIONS: dict[str, type[Dimension]] = {kind.name.removeprefix("vbench."): kind for kind in _DIMENSIONS}
"""The dimensions by name."""


def dimension(
    name: str, *, mode: Mode = MODES[0], backbones: Mapping[str, Path] | None = None, allow_random: bool = False
) -> Dimension:
    """Return one dimension with the weights that are found; see :func:`suite_with`.

    Raises:
        UsageError: there is no such dimension, mode, backbone or file.
        GenkitError: a weight file is not the published one.
    """
    if name not in DIMENSIONS:
        raise UsageError(f"there is no dimension {name!r} of VBench; {nearest(name, DIMENSIONS)}")
    if mode not in MODES:
        raise UsageError(f"there is no mode {mode!r} of VBench; it is {' or '.join(MODES)}")
    given = backbones or {}
    check_keys(given, BACKBONES)
    kind = DIMENSIONS[name]
    found = [resolve(BACKBONES[key], explicit=given.get(key), allow_random=allow_random) for key in kind.backbones]
    return kind(mode=mode, weights=tuple(found))


def suite_with(
    *,
    mode: Mode = MODES[0],
    backbones: Mapping[str, Path] | None = None,
    allow_random: bool = False,
    only: Iterable[str] = DIMENSIONS,
) -> Suite:
    """Return the suite in one of its modes.

    Args:
        mode: ``vbench-0.1.5`` or ``fixed``.
        backbones: weight files by key of :data:`~genkit.benchmarks.suites.vbench_networks.BACKBONES`; the others are
            searched for on this machine.
        allow_random: use random weights where none are found; every output says so.
        only: names of dimensions; consistency is refused without ``dynamic_degree``.

    Raises:
        UsageError: there is no such dimension, mode, backbone or file, or consistency stands alone.
        GenkitError: a weight file is not the published one.
    """
    metrics = [dimension(name, mode=mode, backbones=backbones, allow_random=allow_random) for name in only]
    return Suite(name="vbench", metrics=tuple(metrics), mode=mode, colours="usual")
