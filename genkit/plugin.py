"""What a plug-in is: a frozen dataclass that says which seams of a pipeline it uses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from genkit.attention.call import Rule
from genkit.attention.grid import VideoGrid


@dataclass(frozen=True, kw_only=True)
class Target:
    """The pipeline that plug-ins are applied to, in numbers."""

    family: str
    title: str
    native_frames: int
    """Training length in latent frames."""
    kinds: frozenset[str]
    """Kinds of attention that the model has."""
    has_sink: bool = True
    """Whether text is kept out of the model's self-attention."""


class NoisePlan(Protocol):
    """Changes the initial latents."""

    name: str

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
class Parts:
    """What one plug-in does to one target."""

    rules: Sequence[Rule] = field(default=())
    noise: NoisePlan | None = None
    text: TextPlan | None = None


class Plugin(Protocol):
    """One published method."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    seams: ClassVar[tuple[str, ...]]

    def parts(self, target: Target) -> Parts:
        """Make the parts for a target; raises ``UsageError`` where the method cannot work."""
        ...
