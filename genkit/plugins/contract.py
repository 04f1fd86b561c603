"""What a plug-in is: a frozen dataclass that says which seams of a pipeline it uses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Rule, Step
from genkit.attention.calls.events import Events
from genkit.attention.geometry.windows import Window
from genkit.attention.model.session import Session
from genkit.schedulers.positions import PositionPlan
from genkit.schedulers.turns import Draw, Forward, Levels, Solve

FilePath = Annotated[str, "path"]
"""A parameter that names a file of the machine that generates; what users read as its type comes second."""
CLAIMS: Mapping[str, str] = {
    "noise": "the latents that a run begins with",
    "temporal positions": "the positions of frames in time",
    "windows": "windows of frames over the whole model",
    "attention windows": "windows of frames inside attention",
    "sparse attention": "which keys a query reads, block by block",
    "text": "which words a frame reads",
    "turns": "what one turn of the sampling loop means",
    "step cache": "which layers a step reuses from earlier ones",
    "decode": "how latents become frames",
}
"""What a plug-in can claim for itself alone, and what that is; a plug-in of another package may claim other things."""


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
    one_level: str | None = None
    """Reason for all frames of a forward to have one noise level; None is that each may have its own."""


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
"""One call of the denoiser: latents ``[B, frames, ...]`` of the frames of a window, in frames as attention counts them,
give a prediction ``[B, frames, ...]`` for them. All else that the model is given is cut to the window by itself."""


class ForwardRule(Protocol):
    """Changes what one call of the denoiser is."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def max_frames(self) -> int | None:
        """Latent frames that the model is given at most in one forward; None: as many as the video."""
        ...

    def note(self, frames: int) -> str | None:
        """Return a sentence for the receipt of a video of so many latent frames; None where there is nothing to say."""
        ...

    def wrap(self, denoise: Denoise) -> Denoise:
        """Return the denoiser that this rule makes of ``denoise``."""
        ...


class TextPlan(Protocol):
    """Splits a prompt into texts that are encoded one by one."""

    name: ClassVar[str]

    def read(self, prompt: Any) -> Events:
        """Return the texts of a prompt and when each is to be seen.

        Reading raises ``UsageError`` where the prompt has no such texts; asking for the seconds in a video raises it
        where an event could not be seen there.
        """
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


Decode = Callable[..., Iterator[Tensor]]
"""Turns latents, as the autoencoder's own ``_decode`` takes them, into pixels in [-1, 1], piece by piece in order of
time: ``[B, 3, T, H, W]``, or ``[T, 3, H, W]`` of images. Further arguments are those of that method."""


class DecodePlan(Protocol):
    """Changes how latents become frames."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    @property
    def streams(self) -> bool:
        """Whether the pixels of all frames are never on the autoencoder's device at the same time."""
        ...

    def check(self, vae: Any) -> None:
        """Raise ``UsageError`` where the plan cannot decode with this autoencoder as it is set."""
        ...

    def wrap(self, decode: Decode, vae: Any) -> Decode:
        """Return what decodes in place of ``decode``, which may be called, wrapped or left alone."""
        ...


class Turns(Protocol):
    """One run of a plan of turns; latents have their frames along an axis of their own."""

    turn: int
    """Turns that are done."""
    total: int
    """Turns of the run."""

    @property
    def timesteps(self) -> Tensor:
        """What the pipeline's loop goes through, ``[total]``."""
        ...

    @property
    def sigmas(self) -> Tensor:
        """The noise level of each turn in [0, 1], and a last one: ``[total + 1]``."""
        ...

    @property
    def latent_frames(self) -> int:
        """Frames of the latents that this turn begins with."""
        ...

    moved: bool
    """Whether the last turn moved frames to other places of the latents."""

    def frame_timesteps(self) -> Tensor | None:
        """Return the timestep of each frame in this turn; None gives all the pipeline's own."""
        ...

    def forwards(self) -> Sequence[Forward]:
        """Return what the forwards of this turn see; together they keep the last frame and those before it."""
        ...

    def step(self, prediction: Tensor, latents: Tensor, solve: Solve) -> Tensor:
        """Return the latents with which the next turn begins; of the last turn, those of the whole video."""
        ...

    def estimate(self) -> Tensor | None:
        """Return the frames that the run is heading for; None where the stock solver knows them."""
        ...


class TurnPlan(Protocol):
    """Says what one turn of the pipeline's own sampling loop means."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the receipt."""
        ...

    def first_frames(self, frames: int) -> int:
        """Return with how many latent frames the loop begins that makes a video of ``frames``."""
        ...

    def begin(self, levels: Levels, frames: int, axis: int, draw: Draw) -> Turns | None:
        """Begin a run; None leaves the loop as it is.

        Args:
            levels: the stock solver's own.
            frames: latent frames of the video.
            axis: of the latents along which the frames lie.
            draw: gives fresh noise, drawn with the caller's generator.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What one plug-in does to one target."""

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
    """Where the method acts."""
    claims: ClassVar[frozenset[str]]
    """What the method needs for itself alone, see ``CLAIMS``; two plug-ins with one claim are refused together."""

    def parts(self, target: Target) -> Parts:
        """Make the parts for a target; raises ``UsageError`` where the method cannot work."""
        ...
