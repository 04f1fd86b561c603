"""What a plug-in is: a frozen dataclass that says which seams of a pipeline it uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Rule, Step
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.model.session import Session

FilePath = Annotated[str, "path"]
"""A parameter that names a file of the machine that generates; what users read as its type comes second."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The pipeline that plug-ins are applied to, in numbers."""

    family: str
    title: str
    native_frames: int
    """Training length in latent frames, after temporal patching: what attention counts in."""
    kinds: frozenset[str]
    """Kinds of attention that the model has."""
    longest: int | None = None
    """Latent frames at which the positions of the model end; None is nowhere."""

    @property
    def has_sink(self) -> bool:
        """Whether text is kept out of the model's self-attention, so that its first frame is what all look at."""
        return "self" in self.kinds


class NoisePlan(Protocol):
    """Changes the initial latents."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    def plan(self, latents: Tensor, frame_axis: int, generator: torch.Generator | None) -> Tensor:
        """Return latents of the same shape, drawn with the caller's generator."""
        ...


class TextPlan(Protocol):
    """Splits a prompt into texts that are encoded one by one."""

    name: ClassVar[str]

    def split(self, prompt: Any) -> list[str]:
        """The texts of a prompt, in order."""
        ...

    def check(self, prompt: Any, grid: VideoGrid) -> None:
        """Raise ``UsageError`` unless every event can be seen in the video that ``grid`` describes."""
        ...

    def spans(self, prompt: Any, seconds: float) -> list[tuple[float, float]]:
        """When each of them holds, in seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """One of diffusers' caches, by which a model reuses what it computed in earlier steps."""

    name: str
    config: Callable[[Session, nn.Module, int], Any]
    """Makes diffusers' configuration for one model of a pipeline and a number of solver steps; raises ``UsageError``
    where the method cannot work."""
    after: Callable[[Session, nn.Module, Step], None] | None = None
    """Called after each forward of a model."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What one plug-in does to one target."""

    rules: Sequence[Rule] = field(default=())
    noise: NoisePlan | None = None
    text: TextPlan | None = None
    cache: CachePlan | None = None


class Plugin(Protocol):
    """One published method.

    A class may also have ``choice``, a text such as ``"sparse attention"``: only one plug-in of a choice can be in a
    pipeline.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    seams: ClassVar[tuple[str, ...]]

    def parts(self, target: Target) -> Parts:
        """Make the parts for a target; raises ``UsageError`` where the method cannot work."""
        ...
