"""What rules remember while one video is made: tables that follow from shapes, and what each attention call found."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from genkit.attention.geometry.windows import Window

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One attention call of a run, the same in every solver step: a part of the key of all that it remembers."""

    model: str
    """Name of the pipeline's component."""
    layer: str
    """Name of the attention module inside the model."""
    branches: tuple[str, ...]
    """Guidance branches in the batch."""
    number: int
    """Number of the call among those of its layer in one forward."""
    video: int | None
    """The only video of the batch that the call was cut down to; None is not cut."""
    window: Window | None
    """Window of the whole model that the forward was about; None is the whole video."""
    start: int
    """Latent frame of the whole video at which the call begins, windows inside attention counted."""
    near: bool
    """Whether frames are hidden from one another: a layer may be asked twice, for all frames and for near ones."""


@dataclass
class Memory:
    """What rules remember during one run; made anew with its record."""

    tables: dict[Hashable, Any] = field(default_factory=dict)
    """What follows from shapes and settings alone and is shared by all layers, such as masks and orders of tokens."""
    found: dict[tuple[Place, Hashable], Any] = field(default_factory=dict)
    """What an attention call found out in one step and uses in later ones, such as a plan."""

    def table(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the table of ``key``, which must name everything that ``make()`` depends on."""
        if key not in self.tables:
            self.tables[key] = make()
        found: T = self.tables[key]
        return found

    def at(self, place: Place, key: Hashable, make: Callable[[], T]) -> T:
        """Return what the call at ``place`` remembers under ``key``; ``make()`` at first."""
        if (place, key) not in self.found:
            self.found[place, key] = make()
        found: T = self.found[place, key]
        return found

    def put(self, place: Place, key: Hashable, value: object) -> None:
        """Replace what the call at ``place`` remembers under ``key``."""
        self.found[place, key] = value
