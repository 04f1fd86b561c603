"""What a metric is: a name, what it needs, and a measurement of one video."""

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
    """The text it was made from; None if its file does not say."""
    reference: Video | None = None
    """The video it should resemble; None if there is none."""
    _features: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def feature(self, function: Callable[["Sample"], T]) -> T:
        """``function(self)``, computed once however many metrics ask for it."""
        if function not in self._features:
            self._features[function] = function(self)
        return self._features[function]


class Metric(ABC):
    """A measurement of one video. Subclasses are frozen dataclasses; their fields are a part of every row's key."""

    name: ClassVar[str]
    """``suite.metric``, so that numbers of different suites are never taken for one another."""
    about: ClassVar[str]
    """One sentence: what it measures, and its range."""
    better: ClassVar[Literal["higher", "lower", "neither"]]
    role: ClassVar[Literal["consistency", "dynamics", "other"]] = "other"
    """``consistency`` metrics reward a video that stands still, so they are only shown beside a ``dynamics`` one."""
    version: ClassVar[int] = 1
    """Raised with every change that changes a number."""
    preprocessing: ClassVar[str] = "none"
    """The named preparation of the frames."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable, beyond what genkit always needs."""
    reduction: ClassVar[Reduction] = Reduction()
    """How its measurements of many videos become one number."""
    random_weights: ClassVar[bool] = False
    """Whether a network with drawn weights measures, so that the numbers mean nothing."""
    mode_effect: ClassVar[str] = ""
    """What the mode of its suite changes about it; empty if nothing."""

    def prepare(self) -> None:
        """Load what it measures with; what fails here is no fault of a video and ends the evaluation.

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

    def shown(self, stat: Stat) -> Stat:
        """A video's measurement as results tell it; where a suite has modes, one row is read in several ways."""
        return stat

    def reduce(self, samples: Samples) -> Estimate:
        """The aggregate of measurements as :meth:`shown` gives them, by prompt, with its interval.

        Raises:
            UsageError: no video has a value.
        """
        return estimate(samples, self.reduction.how, self.reduction.bounds).scaled(self.reduction.scale)

    def ceiling(self, prompt: str | None, stat: Stat) -> float | None:
        """The most that a perfect video of this prompt would get where ``stat`` was measured; None: not known."""
        return None

    def wants(self) -> list[str]:
        """What a user has to bring besides the packages, one sentence each; empty if it can run."""
        return []

    def identity(self) -> dict[str, Any]:
        """Everything that decides its numbers, in JSON values; versions of the packages among it."""
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
        UsageError: it would show consistency without dynamics.
    """

    name: str
    metrics: tuple[Metric, ...]
    compares: bool = False
    """Whether each video is held against a reference."""
    prompted: bool = False
    """Whether the prompt decides the numbers."""
    mode: str | None = None
    """How its measurements are read; None if there is one way only."""
    colours: Literal["exact", "usual"] = "exact"
    """How the colours of files are converted: with exact rounding, or to the bit as other tools do."""

    def __post_init__(self) -> None:
        check_told_together(self.name, {metric.name: metric.role for metric in self.metrics})

    def missing(self) -> list[str]:
        """Modules that are needed and not installed."""
        needed = sorted({package for metric in self.metrics for package in metric.packages})
        return [package for package in needed if find_spec(package) is None]

    def check_ready(self) -> None:
        """Raise GenkitError if a package or anything that a user has to bring is missing."""
        if missing := self.missing():
            raise GenkitError(f"suite {self.name!r} needs {', '.join(missing)}; install it: {install_extra('eval')}")
        if wanting := [(metric.name, wants[0]) for metric in self.metrics if (wants := metric.wants())]:
            name, first = wanting[0]
            raise GenkitError(
                f"{len(wanting)} of the {len(self.metrics)} metrics of suite {self.name!r} cannot run, "
                f"{name} needs {first}; `genkit eval doctor --suite {self.name}` tells all, --only runs the others"
            )

    def restricted(self, names: Iterable[str]) -> "Suite":
        """The same suite with fewer metrics, named with or without the suite's own name before them.

        Raises:
            UsageError: there is no such metric, or consistency would stand alone.
        """
        known = {metric.name.removeprefix(f"{self.name}."): metric for metric in self.metrics}
        short = [name.removeprefix(f"{self.name}.") for name in names]
        for name in short:
            if name not in known:
                raise UsageError(f"suite {self.name!r} has no metric {name!r}; {nearest(name, known)}")
        return replace(self, metrics=tuple(metric for name, metric in known.items() if name in short))


def check_told_together(what: str, roles: dict[str, str]) -> None:
    """Refuse metrics of consistency that no metric of dynamics stands beside: a frozen video would win.

    Raises:
        UsageError: there is one.
    """
    still = sorted(name for name, role in roles.items() if role == "consistency")
    if still and "dynamics" not in roles.values():
        raise UsageError(
            f"{what} would show {still[0]} without a metric of dynamics, and a frozen video would win; add one"
        )
