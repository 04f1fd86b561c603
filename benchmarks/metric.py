"""What a metric is: a name, what it needs, and a measurement of one video."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Literal, TypeVar

from genkit.benchmarks.stats import Stat
from genkit.errors import GenkitError, UsageError
from genkit.video import Video

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

    @abstractmethod
    def measure(self, sample: Sample) -> Stat:
        """Measure one video.

        Raises:
            GenkitError: this video cannot be measured, with the reason.
        """

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

    def __post_init__(self) -> None:
        check_told_together(self.name, {metric.name: metric.role for metric in self.metrics})

    def missing(self) -> list[str]:
        """Modules that are needed and not installed."""
        needed = sorted({package for metric in self.metrics for package in metric.packages})
        return [package for package in needed if find_spec(package) is None]

    def check_ready(self) -> None:
        """Raise GenkitError if a package is missing."""
        if missing := self.missing():
            raise GenkitError(
                f"suite {self.name!r} needs {', '.join(missing)}; install it: pip install 'genkit-video[eval]'"
            )


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
