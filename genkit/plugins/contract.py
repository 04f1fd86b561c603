"""The contract of a plug-in: a frozen dataclass that says what it does at which seams of a pipeline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Rule, Step
from genkit.attention.calls.events import Events
from genkit.attention.geometry.windows import Window
from genkit.attention.model.session import Session
from genkit.errors import UsageError
from genkit.schedulers.positions import PositionPlan
from genkit.schedulers.turns import Draw, Forward, Levels, Solve

FilePath = Annotated[str, "path"]
"""A parameter that is a path to a local file; users see the second argument as its type."""
CLAIMS: Mapping[str, str] = {
    "noise": "the latents that a run begins with",
    "temporal positions": "the positions of frames in time",
    "windows": "windows of frames over the whole model",
    "attention windows": "windows of frames inside attention",
    "frame logits": "how strongly frames attend to one another",
    "sparse attention": "which keys a query reads, block by block",
    "text": "which words a frame reads",
    "turns": "what one turn of the sampling loop means",
    "step cache": "which layers a step reuses from earlier ones",
    "decode": "how latents become frames",
}
"""Exclusive resources of plug-ins, with what each one is; plug-ins of other packages may add their own."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Facts of the pipeline that plug-ins are applied to."""

    family: str
    title: str
    native_frames: int | None
    """Training length in latent frames, after temporal patching, as attention counts them; None: not known."""
    kinds: frozenset[str]
    """The model's kinds of attention."""
    longest: int | None = None
    """Latent frames at which the model's positions end; None is nowhere."""
    one_level: str | None = None
    """Reason that all frames of a forward share one noise level; None if each may have its own."""

    def trained_on(self, name: str) -> int:
        """Return the training length for a plug-in ``name`` that depends on it; raise ``UsageError`` if not known."""
        if self.native_frames is None:
            raise UsageError(
                f"{name} depends on the length of the clips that {self.title} was trained on, which is not known; set "
                "the window, where the plug-in has one, or register facts of the checkpoint (genkit.Published)"
            )
        return self.native_frames


class NoisePlan(Protocol):
    """Changes the initial latents."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    def plan(self, latents: Tensor, frame_axis: int, generator: torch.Generator | None) -> Tensor:
        """Return latents of the same shape, drawn with the caller's generator."""
        ...


Denoise = Callable[[Tensor, Step, Window], Tensor]
"""One call of the denoiser: from latents ``[B, frames, ...]`` of a window, in frames as attention counts them, to a
prediction ``[B, frames, ...]``. All other inputs of the model are cut to the window automatically."""


class ForwardRule(Protocol):
    """Changes what one call of the denoiser is."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def max_frames(self) -> int | None:
        """Max latent frames of one forward; None is the whole video."""
        ...

    def note(self, frames: int) -> str | None:
        """Return a sentence for the receipt of a video of ``frames`` latent frames, or None."""
        ...

    def wrap(self, denoise: Denoise) -> Denoise:
        """Return the denoiser that this rule makes of ``denoise``."""
        ...


class TextPlan(Protocol):
    """Splits a prompt into texts that are encoded separately."""

    name: ClassVar[str]

    def read(self, prompt: Any) -> Events:
        """Return the texts of a prompt, and when each is shown.

        Raises:
            UsageError: the prompt is not a list of events; the spans of the result raise it for events that do not
                fit the video.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """One of diffusers' step caches."""

    name: str
    config: Callable[[Session, nn.Module, int], Any]
    """Returns diffusers' configuration for one model of a pipeline and a number of solver steps; raises ``UsageError``
    if the method cannot work."""
    after: Callable[[Session, nn.Module, Step], None] | None = None
    """Called after each forward of a model."""


Decode = Callable[..., Iterator[Tensor]]
"""Decodes latents, as the autoencoder's ``_decode`` takes them, to pixels in [-1, 1], piece by piece in order of time:
``[B, 3, T, H, W]``, or ``[T, 3, H, W]`` for an image autoencoder. Further arguments are those of ``_decode``."""


class DecodePlan(Protocol):
    """Changes how latents become frames."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def streams(self) -> bool:
        """True if the autoencoder's device never stores the pixels of all frames at the same time."""
        ...

    def check(self, vae: Any) -> None:
        """Raise ``UsageError`` if the plan cannot decode with this autoencoder as it is configured."""
        ...

    def wrap(self, decode: Decode, vae: Any) -> Decode:
        """Return a replacement for ``decode``, which it may call, wrap or ignore."""
        ...


class Turns(Protocol):
    """One run of a plan of turns, on latents with a separate axis of frames."""

    turn: int
    """Turns done."""
    total: int
    """Turns of the run."""

    @property
    def timesteps(self) -> Tensor:
        """Timesteps of the pipeline's loop, ``[total]``."""
        ...

    @property
    def sigmas(self) -> Tensor:
        """Noise level of each turn in [0, 1], then the final one: ``[total + 1]``."""
        ...

    @property
    def latent_frames(self) -> int:
        """Frames of the latents at the beginning of this turn."""
        ...

    moved: bool
    """True if the last turn moved frames to other places in the latents."""

    def frame_timesteps(self) -> Tensor | None:
        """Return the timestep of each frame in this turn; None keeps the pipeline's for all."""
        ...

    def forwards(self) -> Sequence[Forward]:
        """Return the forwards of this turn; together they keep consecutive frames up to the last."""
        ...

    def step(self, prediction: Tensor, latents: Tensor, solve: Solve) -> Tensor:
        """Return the latents for the next turn; after the last one, those of the whole video."""
        ...

    def estimate(self) -> Tensor | None:
        """Return the current estimate of the clean frames; None to ask the stock solver."""
        ...


class TurnPlan(Protocol):
    """Defines one turn of the pipeline's own sampling loop."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    def first_frames(self, frames: int) -> int:
        """Return how many latent frames the loop begins with, for a video of ``frames``."""
        ...

    def begin(self, levels: Levels, frames: int, axis: int, draw: Draw) -> Turns | None:
        """Begin a run; None leaves the loop unchanged.

        Args:
            levels: of the stock solver.
            frames: latent frames of the video.
            axis: of the frames in the latents.
            draw: returns new noise from the caller's generator.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of one plug-in for one target, by seam."""

    rules: Sequence[Rule] = field(default=())
    noise: NoisePlan | None = None
    text: TextPlan | None = None
    forward: ForwardRule | None = None
    cache: CachePlan | None = None
    positions: PositionPlan | None = None
    turns: TurnPlan | None = None
    decode: DecodePlan | None = None


class Plugin(Protocol):
    """One published method: a frozen dataclass whose fields are its parameters."""

    name: ClassVar[str]
    """Name in texts, receipts and on the command line."""
    title: ClassVar[str]
    paper: ClassVar[str]
    seams: ClassVar[tuple[str, ...]]
    """Seams where the method acts."""
    claims: ClassVar[frozenset[str]]
    """Resources that the method needs for itself, see ``CLAIMS``; two plug-ins with the same claim are refused."""

    def parts(self, target: Target) -> Parts:
        """Return the parts for a target; raise ``UsageError`` if the method cannot work with it."""
        ...
