"""What a planner is, and what planners that follow the fields of a method share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor

from genkit.attention.geometry.layout import Layout
from genkit.attention.planning.planner_call import Attended, PlannerCall


class Planner(Protocol):
    """A method that leaves out a part of the attention. Equal planners have equal hashes: they key what is stored."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """Name of the plug-in, for the record."""
        ...

    @property
    def across_heads(self) -> bool:
        """Whether what is read in one head depends on other heads, compared by ``PlannerCall.all_heads``."""
        ...

    @property
    def layout(self) -> Layout | None:
        """Order in which the planner wants the tokens; None is frame by frame, or an order of its own in each head."""
        ...

    def refusal(self, here: PlannerCall) -> str | None:
        """Return the reason to run this call dense, or None."""
        ...

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return fields to try in turn, from sparse to dense; ``recall`` is the target if it is one of recall.

        ``having`` puts them in; the last is dense, or the only one that keeps the recall by itself.
        """
        ...

    def having(self, **fields: Any) -> "Planner":
        """Return the planner with other values of some fields."""
        ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return the attention over what is read here, and the share of the token pairs that it is."""
        ...


class Settings(Protocol):
    """Fields of a method, in a frozen dataclass; the plug-in itself is one."""

    def __hash__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def block(self) -> int | None: ...


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class MethodPlanner(ABC, Generic[S]):
    """A planner of a method: it takes tokens frame by frame and refuses no call, unless the method says otherwise."""

    settings: S

    @property
    def name(self) -> str:
        """Name of the plug-in."""
        return self.settings.name

    @property
    @abstractmethod
    def across_heads(self) -> bool:
        """Whether what is read in one head depends on other heads; each planner says so: ``across_heads = False``."""

    @property
    def layout(self) -> Layout | None:
        """Frame by frame."""
        return None

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse no call."""
        return None

    @abstractmethod
    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return fields to try in turn, from sparse to dense; see ``Planner.levels``."""

    def having(self, **fields: Any) -> Self:
        """Return the planner with other values of some fields of its method."""
        return replace(self, settings=replace(self.settings, **fields))  # type: ignore[type-var]

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Return the attention over what is read here, and the share of the token pairs that it is."""
