"""State of rules during one run: tables derived from shapes, and what each attention call found."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from genkit.attention.geometry.windows import Window

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Identity of one attention call, the same in every solver step; part of its state keys."""

    model: str
    """Name of the pipeline's component."""
    layer: str
    """Name of the attention module inside the model."""
    branches: tuple[str, ...]
    """Guidance branches in the batch."""
    number: int
    """Index of the call among those of its layer in one forward."""
    video: int | None
    """Video of the batch to which the call was cut down; None: the whole batch."""
    window: Window | None
    """Window of the video that the forward denoised; None: the whole video."""
    start: int
    """First latent frame of the call in the whole video, including windows inside attention."""
    near: bool
    """True if frames are hidden from one another; a layer may be called twice, for all frames and for near ones."""


@dataclass
class Memory:
    """State of rules for one run; created with its record."""

    tables: dict[Hashable, Any] = field(default_factory=dict)
    """Values that depend on shapes and settings only, shared by all layers, such as masks and token orders."""
    found: dict[tuple[Place, Hashable], Any] = field(default_factory=dict)
    """Values that an attention call found in one step and uses in later ones, such as a plan."""

    def table(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached ``make()`` of ``key``, which must include everything that it depends on."""
        if key not in self.tables:
            self.tables[key] = make()
        found: T = self.tables[key]
        return found

    def at(self, place: Place, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value that the call at ``place`` stored under ``key``, or store and return ``make()``."""
        if (place, key) not in self.found:
            self.found[place, key] = make()
        found: T = self.found[place, key]
        return found

    def put(self, place: Place, key: Hashable, value: object) -> None:
        """Store the value of the call at ``place`` under ``key``."""
        self.found[place, key] = value
