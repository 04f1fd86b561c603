"""The metric protocol: a name, its requirements, and the measurement of one video."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, TypeVar

from genkit.benchmarks.evaluate.stats import Estimate, Reduction, Samples, Stat, estimate
from genkit.errors import GenkitError, UsageError, nearest
from genkit.video.video import Video
from genkit_video import install_extra

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One decoded video with what it is measured against."""

    video: Video
    prompt: str | None = None
    """The text it was made from; None if its file does not contain it."""
    reference: Video | None = None
    """The video it should resemble; None if there is none."""
    _features: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def feature(self, function: Callable[["Sample"], T]) -> T:
        """Return ``function(self)``, computed once for all metrics that ask for it."""
        if function not in self._features:
            self._features[function] = function(self)
        return self._features[function]


class Metric(ABC):
    """A measurement of one video. Subclasses are frozen dataclasses; their fields are part of every row's key."""

    name: ClassVar[str]
    """``suite.metric``, so that numbers of different suites are never confused."""
    about: ClassVar[str]
    """One sentence: what it measures, and its range."""
    better: ClassVar[Literal["higher", "lower", "neither"]]
    role: ClassVar[Literal["consistency", "dynamics", "other"]] = "other"
    """``consistency`` metrics reward a still video, so they are only reported beside a ``dynamics`` metric."""
    version: ClassVar[int] = 1
    """Increased with every change that changes a number."""
    preprocessing: ClassVar[str] = "none"
    """Name of the preprocessing of the frames."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Required modules beyond genkit's own dependencies."""
    reduction: ClassVar[Reduction] = Reduction()
    """Rule by which the measurements of many videos become one number."""
    random_weights: ClassVar[bool] = False
    """True if a network with random weights measures, so that the numbers mean nothing."""
    mode_effect: ClassVar[str] = ""
    """Effect of the suite's mode on this metric; empty if none."""

    def prepare(self) -> None:
        """Load its networks and files; a failure here is not the fault of a video and ends the evaluation.

        Raises:
            GenkitError: something is missing or broken.
        """
        if wanted := self.wants():
            raise GenkitError(f"{self.name} needs {wanted[0]}")

    @abstractmethod
    def measure(self, sample: Sample) -> Stat:
        """Measure one video.

        Raises:
            GenkitError: this video cannot be measured, with the reason.
        """

    def report(self, stat: Stat) -> Stat:
        """Return a measurement as results report it; the modes of a suite read one row in different ways."""
        return stat

    def reduce(self, samples: Samples) -> Estimate:
        """Aggregate measurements, as :meth:`report` returns them, by prompt, with an interval.

        Raises:
            UsageError: no video has a value.
        """
        return estimate(samples, self.reduction.how, self.reduction.bounds).scale(self.reduction.scale)

    def ceiling(self, prompt: str | None, stat: Stat) -> float | None:
        """Return the score of a perfect video of this prompt where ``stat`` was measured; None if unknown."""
        return None

    def wants(self) -> list[str]:
        """Return what the user has to provide besides packages, one sentence each; empty if it can run."""
        return []

    def identity(self) -> dict[str, Any]:
        """Return everything that determines its numbers, package versions included, as JSON values."""
        return {
            "metric": self.name,
            "version": self.version,
            "preprocessing": self.preprocessing,
            "settings": asdict(self),  # type: ignore[call-overload]
            "packages": {name: import_module(name).__version__ for name in self.packages},
        }


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Metrics that are run together.

    Raises:
        UsageError: it would report consistency without dynamics.
    """

    name: str
    metrics: tuple[Metric, ...]
    compares: bool = False
    """True if each video is compared with a reference."""
    prompted: bool = False
    """True if the prompt affects the numbers."""
    mode: str | None = None
    """Mode in which its measurements are read; None if there is only one."""
    colours: Literal["exact", "usual"] = "exact"
    """Colour conversion of files: ``exact`` rounding, or ``usual``, bit for bit as other tools do."""

    def __post_init__(self) -> None:
        check_roles(self.name, {metric.name: metric.role for metric in self.metrics})

    def missing(self) -> list[str]:
        """Return required modules that are not installed."""
        needed = sorted({package for metric in self.metrics for package in metric.packages})
        return [package for package in needed if find_spec(package) is None]

    def check_ready(self) -> None:
        """Raise GenkitError if a package or anything that the user has to provide is missing."""
        if missing := self.missing():
            raise GenkitError(f"suite {self.name!r} needs {', '.join(missing)}; install it: {install_extra('eval')}")
        if wanting := [(metric.name, wants[0]) for metric in self.metrics if (wants := metric.wants())]:
            name, first = wanting[0]
            raise GenkitError(
                f"{len(wanting)} of the {len(self.metrics)} metrics of suite {self.name!r} cannot run, "
                f"{name} needs {first}; `genkit eval doctor --suite {self.name}` lists all, --only runs the others"
            )

    def restrict(self, names: Iterable[str]) -> "Suite":
        """Return the suite with fewer metrics, named with or without the prefix of the suite.

        Raises:
            UsageError: there is no such metric, or consistency would stand alone.
        """
        known = {metric.name.removeprefix(f"{self.name}."): metric for metric in self.metrics}
        short = [name.removeprefix(f"{self.name}.") for name in names]
        for name in short:
            if name not in known:
                raise UsageError(f"suite {self.name!r} has no metric {name!r}; {nearest(name, known)}")
        return replace(self, metrics=tuple(metric for name, metric in known.items() if name in short))


def check_roles(what: str, roles: dict[str, str]) -> None:
    """Refuse consistency metrics without a dynamics metric: a frozen video would win.

    Raises:
        UsageError: there is one.
    """
    still = sorted(name for name, role in roles.items() if role == "consistency")
    if still and "dynamics" not in roles.values():
        raise UsageError(
            f"{what} would report {still[0]} without a metric of dynamics, and a frozen video would win; add one"
        )
