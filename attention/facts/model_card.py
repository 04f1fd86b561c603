"""What is known of one family of video models, and what one of its pipelines says in its configuration."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.positions import PositionFacts
from genkit.attention.facts.volume import Arguments, Volume, patch_of, plain_model
from genkit.attention.geometry.grid import latent_frames


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One family of video models."""

    family: str
    """Short name."""
    title: str
    """Name that people use, with versions."""
    pipeline: str
    """Class name of the diffusers pipeline; subclasses of it are of the family too."""
    mark: Callable[[Any], bool] = lambda pipe: True
    """Tells the checkpoints of this card from others of the same pipeline, by what their configuration says."""
    read: Callable[["ModelCard", Any], "ModelCard"] = lambda card, pipe: card
    """Puts what the configuration of one pipeline says in place of what is usual."""
    layers: dict[Kind, str]
    """Regular expressions that match the full names of the attention modules of each kind."""
    volume: Callable[[nn.Module, Arguments], Volume]
    """Reads the token volume from a forward call of the model."""
    native_frames: int
    """Pixel frames of the clips that the model was trained on."""
    fps: float
    """Pixel frames a second of those clips."""
    stride_attribute: str | None
    """Pipeline attribute with the pixel frames of a latent frame; None: each pixel frame is a latent one."""
    published_stride: int = 4
    """The same in the checkpoints of ``hub_ids``: for what must be known before a model is opened."""
    size_attribute: str = "vae_scale_factor_spatial"
    """Pipeline attribute with the pixels of a latent row or column."""
    blocks: tuple[str, ...] = ()
    """Lists of a model's blocks, in the order in which they run; empty: tokens are not the same sequence throughout."""
    components: tuple[str, ...] = ("transformer",)
    """Pipeline components that are hooked, where present."""
    text_first: bool = False
    """Whether text tokens stand before the video tokens in joint attention."""
    batched_guidance: bool = False
    """True: one forward holds ``[uncond, cond]``; False: one forward for each."""
    latent_frame_axis: int | None = 2
    """Axis of the frames in the initial latents; None: tokens packed frame by frame in axis 1."""
    ascending_sigmas: bool = False
    """Whether the scheduler's sigmas rise from 0 to 1 as the noise falls."""
    frame_multiple: int | None = None
    """Legal lengths are this times k plus 1, where that is more than the latent frame rate; None: the rate itself."""
    one_level: str | None = "it takes one timestep for all frames"
    """Reason for all frames of a forward to have one noise level; None: each may have its own (a timestep a token)."""
    positions: PositionFacts
    """How time enters attention."""
    hub_ids: tuple[str, ...] = ()
    """Checkpoints known to be of this family."""
    defaults: Arguments = field(default_factory=dict)
    """Arguments that this model needs when the caller does not say otherwise."""
    longest: Callable[[Any], int | None] = lambda pipe: None
    """Reads the largest number of pixel frames that the pipeline can make; None: no limit."""

    largest: Callable[[Any], tuple[int, int]] | None = None
    """Reads the largest height and width in pixels; None: no limit."""

    @property
    def this(self) -> str:
        """What a sentence about one model of the family calls it."""
        return self.title if self.title.startswith("the ") else f"this {self.title} model"

    def kind_of(self, module_name: str) -> Kind | None:
        """The kind of an attention module, by its full name inside the model; None if it is none of ours."""
        return next((kind for kind, pattern in self.layers.items() if re.fullmatch(pattern, module_name)), None)

    def frame_step(self, pipe: Any = None) -> int:
        """Return the step of legal lengths, which are ``step * k + 1`` pixel frames; None is a published checkpoint."""
        return self.frame_multiple or (self.published_stride if pipe is None else self._latent_stride(pipe))

    def stride(self, pipe: Any) -> int:
        """Pixel frames of a token frame: those of a latent frame, times the latent frames that share a token."""
        return self._latent_stride(pipe) * self.time_patch(pipe)

    def time_patch(self, pipe: Any) -> int:
        """Latent frames that share a token."""
        return patch_of(self.model(pipe))[0]

    def token_frames(self, pipe: Any, pixel_frames: int) -> int:
        """Frames of tokens in a video of so many pixel frames: what attention counts in."""
        return latent_frames(pixel_frames, self.stride(pipe))

    def size_steps(self, pipe: Any) -> tuple[int, int]:
        """Heights and widths, in pixels, are multiples of these."""
        _, down, right = patch_of(self.model(pipe))
        latent = int(getattr(pipe, self.size_attribute))
        return latent * down, latent * right

    def model(self, pipe: Any) -> Any:
        """The first denoising model that a pipeline has; None if it has none."""
        parts = (plain_model(getattr(pipe, name, None)) for name in self.components)
        return next((part for part in parts if part is not None), None)

    def _latent_stride(self, pipe: Any) -> int:
        return int(getattr(pipe, self.stride_attribute)) if self.stride_attribute else 1
