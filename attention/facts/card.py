"""What is known of one pipeline: the facts of its models, and the numbers of its checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from genkit.attention.calls.call import Kind
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.lengths import Lengths
from genkit.attention.facts.made import MadeFrames, floored, one_part
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.positions import PositionFacts
from genkit.attention.facts.volume import Arguments, patch_of, plain_model
from genkit.attention.geometry.grid import latent_frames

Branches = Literal["names", "halves", "order", "guider"]
"""How the guidance branch of a forward is recognised: by the name of its ``cache_context``; ``[uncond, cond]`` in one
batch; by its number since the last solver step, cond first; or as a guider runs them: by name if there is one, by
number if not."""
Prompts = Literal["pairs", "masked pairs"]
"""Answer of ``encode_prompt``: prompt and negative prompt, or each of them with its mask."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What applies to every pipeline of a kind, and so to each one of them."""

    stride_attribute: str | None = "vae_scale_factor_temporal"
    """Pipeline attribute with the pixel frames per latent frame; None: one."""
    size_attribute: str = "vae_scale_factor_spatial"
    """Pipeline attribute with the pixels per latent row or column."""
    branches: Branches = "names"
    """How guidance branches are distinguished."""
    prompts: Prompts | None = None
    """Answer of ``encode_prompt``; None: another one, so that prompts over time are refused."""
    text_tokens: int | None = None
    """Tokens to which the text of every call is padded, because the model cuts there; None: any number."""
    noise_axis: int | None = None
    """Axis of the frames in the latents that the pipeline draws; None: as in its models."""
    one_level: str | None = None
    """Reason that all frames of a forward share one noise level; None: as the models have it; on a card,
    where that is included already, each may have its own."""
    spans: tuple[int, ...] = ()
    """Pixel frames that each latent frame decodes to, in a cycle; empty: 1, and then the stride for all others."""
    fixed_rate: bool = False
    """True if a model makes videos of its own frame rate alone."""
    ascending_sigmas: bool = False
    """True if the scheduler's sigmas rise from 0 to 1 as the noise decreases."""
    last_timestep: float | None = None
    """Timestep of the finished video; None: 0, or the largest where ``ascending_sigmas``."""
    given_frames: int = 0
    """First latent frames that a pipeline gives instead of noise; a noise plan leaves them."""
    noise_lead: Callable[[Any], int] = lambda pipe: 0
    """Returns the latent frames in front of the noise of the video in a call that runs: those of references."""
    given: str | None = None
    """Reason that the first latents contain more than noise and ``given_frames``, as the end of a sentence; None: they
    do not."""
    given_by: tuple[str, ...] = ()
    """Arguments of ``prepare_latents`` that put more than noise into the first latents of a run."""
    channel_axis: int | None = None
    """Axis of the channels in the initial latents, if only the first ``num_channels_latents`` of them are noise and the
    others are a condition; None: all are noise."""
    length_argument: str | None = "num_frames"
    """Argument of the call with the length in pixel frames; None: the call has none."""
    length_from: str | None = None
    """Argument of the call with a video, or a list of images, whose length the result has; None: no such."""
    made_frames: MadeFrames = floored
    """Returns the pixel frames of the video, given those of ``length_argument`` or ``length_from``."""
    parts_made: MadeFrames = one_part
    """Returns the number of parts, one after the other, in which a call makes a video of such a length."""
    length_is_made: bool = True
    """False where ``length_argument`` counts other frames too, such as that of the image or those to think in: it is
    passed on as it is, and the receipt says what it makes."""
    largest: Callable[[Any], tuple[int, int]] | None = None
    """Returns the largest height and width in pixels; None: no limit."""


@dataclass(frozen=True, kw_only=True)
class Card(Traits):
    """One pipeline, as its classes, its configuration and what was published of its checkpoint describe it."""

    family: str
    """Short name of the checkpoints of this kind."""
    title: str
    """Common name, with versions."""
    models: Mapping[str, ModelFacts]
    """Facts of the models that rules enter, by pipeline component; at least one."""
    native_frames: int | None
    """Pixel frames of the clips that the model was trained on; None: not known."""
    fps: float | None
    """Pixel frames per second of those clips; None: not known."""
    frame_multiple: int | None = None
    """Legal lengths are k times this plus 1 pixel frames; None: k times the pixel frames per latent frame plus 1."""
    own_lengths: Lengths | None = None
    """Legal lengths of a model with another rule."""
    defaults: Arguments = field(default_factory=dict)
    """Default arguments of this model that differ from its pipeline's."""
    takes: Mapping[str, Input] = field(default_factory=dict)
    """Images, videos and others that the pipeline takes besides the prompt, by genkit's word."""

    @property
    def this(self) -> str:
        """Name of one model of the family inside a sentence."""
        return self.title if self.title.startswith("the ") else f"this {self.title} model"

    @property
    def components(self) -> tuple[str, ...]:
        """Pipeline components that rules enter."""
        return tuple(self.models)

    @property
    def main(self) -> ModelFacts:
        """Facts of the first model; all share positions, layout and patch."""
        return next(iter(self.models.values()))

    @property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of attention that the models have."""
        return frozenset(kind for facts in self.models.values() for kind in facts.layers)

    @property
    def positions(self) -> PositionFacts:
        """Temporal positions."""
        return self.main.positions

    def longest(self, pipe: Any) -> int | None:
        """Return the largest number of pixel frames for which the models have positions; None: no limit."""
        frames = self.main.longest(self.model(pipe))
        return None if frames is None else (frames - 1) * self.stride(pipe) + 1

    def frame_step(self, pipe: Any) -> int:
        """Return the difference of two neighbouring legal lengths, in pixel frames."""
        return self.lengths(pipe).step

    def lengths(self, pipe: Any) -> Lengths:
        """Return the legal lengths."""
        return self.own_lengths or Lengths(step=self.frame_multiple or self._latent_stride(pipe))

    def made(self, pipe: Any, arguments: Arguments, frames: int) -> int:
        """Return the pixel frames of the video that a call makes of ``frames``, the length that it is given."""
        if self.own_lengths is not None and self.made_frames is floored:
            return frames
        return self.made_frames(pipe, self._latent_stride(pipe), arguments, frames)

    def parts(self, pipe: Any, arguments: Arguments, frames: int) -> int:
        """Return the number of parts in which a call makes its video."""
        return self.parts_made(pipe, self._latent_stride(pipe), arguments, frames)

    def stride(self, pipe: Any) -> int:
        """Return the pixel frames per token frame: those per latent frame times the temporal patch."""
        return self._latent_stride(pipe) * self.time_patch(pipe)

    def time_patch(self, pipe: Any) -> int:
        """Return the latent frames per token."""
        return patch_of(self.model(pipe))[0]

    def token_frames(self, pipe: Any, pixel_frames: int) -> int:
        """Return the token frames of a video of ``pixel_frames``, the unit of attention."""
        if not self.spans:
            return latent_frames(pixel_frames, self.stride(pipe))
        rounds, rest = divmod(pixel_frames, sum(self.spans))
        return rounds * len(self.spans) + sum(end <= rest for end in accumulate(self.spans))

    def native_token_frames(self, pipe: Any) -> int | None:
        """Return the token frames of the clips that the model was trained on; None: not known."""
        return None if self.native_frames is None else self.token_frames(pipe, self.native_frames)

    def size_steps(self, pipe: Any) -> tuple[int, int]:
        """Return the pixels of which legal heights and widths are multiples."""
        _, down, right = patch_of(self.model(pipe))
        latent = int(getattr(pipe, self.size_attribute))
        return latent * down, latent * right

    def model(self, pipe: Any) -> Any:
        """Return the first denoising model of a pipeline."""
        return plain_model(getattr(pipe, next(iter(self.models))))

    def _latent_stride(self, pipe: Any) -> int:
        if self.spans:
            return self.spans[-1]
        return int(getattr(pipe, self.stride_attribute)) if self.stride_attribute else 1
