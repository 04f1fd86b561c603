"""Facts of one family of video models, and those that a pipeline's configuration adds."""

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
    """Common name, with versions."""
    pipeline: str
    """Class name of the diffusers pipeline; its subclasses belong to the family too."""
    mark: Callable[[Any], bool] = lambda pipe: True
    """Returns True for checkpoints of this card, by their configuration; others share the pipeline class."""
    read: Callable[["ModelCard", Any], "ModelCard"] = lambda card, pipe: card
    """Returns the card with the values that the configuration of one pipeline overrides."""
    layers: dict[Kind, str]
    """Regular expressions that match the full names of the attention modules of each kind."""
    volume: Callable[[nn.Module, Arguments], Volume]
    """Reads the token volume from a forward call of the model."""
    native_frames: int
    """Pixel frames of the clips that the model was trained on."""
    fps: float
    """Pixel frames per second of those clips."""
    stride_attribute: str | None
    """Pipeline attribute with the pixel frames per latent frame; None: one."""
    published_stride: int = 4
    """Pixel frames per latent frame of the checkpoints in ``hub_ids``, for checks before a model is loaded."""
    size_attribute: str = "vae_scale_factor_spatial"
    """Pipeline attribute with the pixels per latent row or column."""
    blocks: tuple[str, ...] = ()
    """Module lists of a model's blocks, in execution order; empty if the token sequence changes between blocks."""
    components: tuple[str, ...] = ("transformer",)
    """Pipeline components that are hooked, if present."""
    text_first: bool = False
    """True if text tokens precede the video tokens in joint attention."""
    batched_guidance: bool = False
    """True: one forward takes ``[uncond, cond]`` as a batch; False: one forward for each."""
    latent_frame_axis: int | None = 2
    """Axis of the frames in the initial latents; None: tokens packed frame by frame in axis 1."""
    ascending_sigmas: bool = False
    """True if the scheduler's sigmas rise from 0 to 1 as the noise decreases."""
    frame_multiple: int | None = None
    """Legal lengths are k times this plus 1 pixel frames; None: k times the pixel frames per latent frame plus 1."""
    one_level: str | None = "it takes one timestep for all frames"
    """Reason that all frames of a forward share one noise level; None: each may have its own (per-token timesteps)."""
    positions: PositionFacts
    """Temporal positions of the family."""
    hub_ids: tuple[str, ...] = ()
    """Checkpoints known to belong to this family."""
    defaults: Arguments = field(default_factory=dict)
    """Default arguments of this model that differ from its pipeline's."""
    longest: Callable[[Any], int | None] = lambda pipe: None
    """Returns the largest number of pixel frames that the pipeline can generate; None: no limit."""

    largest: Callable[[Any], tuple[int, int]] | None = None
    """Returns the largest height and width in pixels; None: no limit."""

    @property
    def this(self) -> str:
        """Name of one model of the family inside a sentence."""
        return self.title if self.title.startswith("the ") else f"this {self.title} model"

    def kind_of(self, module_name: str) -> Kind | None:
        """Return the kind of an attention module by its full name inside the model; None if it is not hooked."""
        return next((kind for kind, pattern in self.layers.items() if re.fullmatch(pattern, module_name)), None)

    def frame_step(self, pipe: Any = None) -> int:
        """Return the step of legal lengths, ``step * k + 1`` pixel frames; without ``pipe``, of a published model."""
        return self.frame_multiple or (self.published_stride if pipe is None else self._latent_stride(pipe))

    def stride(self, pipe: Any) -> int:
        """Return the pixel frames per token frame: those per latent frame times the temporal patch."""
        return self._latent_stride(pipe) * self.time_patch(pipe)

    def time_patch(self, pipe: Any) -> int:
        """Return the latent frames per token."""
        return patch_of(self.model(pipe))[0]

    def token_frames(self, pipe: Any, pixel_frames: int) -> int:
        """Return the token frames of a video of ``pixel_frames``, the unit of attention."""
        return latent_frames(pixel_frames, self.stride(pipe))

    def size_steps(self, pipe: Any) -> tuple[int, int]:
        """Return the pixels of which legal heights and widths are multiples."""
        _, down, right = patch_of(self.model(pipe))
        latent = int(getattr(pipe, self.size_attribute))
        return latent * down, latent * right

    def model(self, pipe: Any) -> Any:
        """Return the first denoising model of a pipeline; None if it has none."""
        parts = (plain_model(getattr(pipe, name, None)) for name in self.components)
        return next((part for part in parts if part is not None), None)

    def _latent_stride(self, pipe: Any) -> int:
        return int(getattr(pipe, self.stride_attribute)) if self.stride_attribute else 1
