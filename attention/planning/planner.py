"""The protocol of planners, and the parent class of planners that are configured by a plug-in."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from genkit.attention.geometry.layout import Layout
from genkit.attention.planning.planner_call import Attended, PlannerCall


class Planner(Protocol):
    """Method that skips a part of the attention. Planners are keys of their state, so equal ones need equal hashes."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """Name of the plug-in, for the record."""
        ...

    @property
    def across_heads(self) -> bool:
        """True if the plan of a head depends on other heads, gathered by ``PlannerCall.all_heads``."""
        ...

    @property
    def layout(self) -> Layout | None:
        """Token order that the planner requests; None: frame by frame, or a separate order in each head."""
        ...

    def refusal(self, here: PlannerCall) -> str | None:
        """Return the reason to run this call dense, or None."""
        ...

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings for ``having``, from sparse to dense; ``recall`` is the target if it is a recall.

        The last is dense, unless a single setting reaches the recall by itself.
        """
        ...

    def having(self, **fields: Any) -> "Planner":
        """Return the planner with some fields replaced."""
        ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return the sparse attention of this call and its density."""
        ...


class Settings(Protocol):
    """Fields of a method: a frozen dataclass such as the plug-in itself."""

    def __hash__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def block(self) -> int | None: ...


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class MethodPlanner(ABC, Generic[S]):
    """Planner of a method; by default it takes tokens frame by frame and does not refuse any call."""

    settings: S

    @property
    def name(self) -> str:
        """Name of the plug-in."""
        return self.settings.name

    @property
    @abstractmethod
    def across_heads(self) -> bool:
        """True if the plan of a head depends on other heads; each planner declares it: ``across_heads = False``."""

    @property
    def layout(self) -> Layout | None:
        """Frame by frame."""
        return None

    def refusal(self, here: PlannerCall) -> str | None:
        """Accept every call."""
        return None

    @abstractmethod
    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense; see ``Planner.levels``."""

    def having(self, **fields: Any) -> Self:
        """Return the planner with some fields of its method replaced."""
        return replace(self, settings=replace(self.settings, **fields))  # type: ignore[type-var]

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return the sparse attention of this call and its density."""
