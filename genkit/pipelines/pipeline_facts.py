"""Facts of pipelines: what one does with its models, matched by what it has and takes, and its checkpoints."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genkit.attention.facts.card import Branches, Card, Prompts
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import Arguments


@dataclass(frozen=True, kw_only=True)
class Published:
    """Checkpoints that were published, and the numbers of their training."""

    family: str
    """Short name."""
    title: str
    """Common name, with versions."""
    native_frames: int
    """Pixel frames of the clips that the model was trained on."""
    fps: float
    """Pixel frames per second of those clips."""
    hub_ids: tuple[str, ...] = ()
    """Checkpoints on a hub."""
    licence: str = ""
    """Licence of the weights, as the hub names it; empty: not known."""
    stride: int = 4
    """Pixel frames per latent frame."""
    multiple: int | None = None
    """Legal lengths are k times this plus 1 pixel frames; None: k times ``stride`` plus 1."""
    defaults: Arguments = field(default_factory=dict)
    """Default arguments of this model that differ from its pipeline's."""
    when: Callable[[Any], bool] = lambda pipe: True
    """Returns True for a pipeline with such a checkpoint, by its configuration, never by a name."""

    @property
    def frame_step(self) -> int:
        """Step of legal lengths, which are ``frame_step * k + 1`` pixel frames."""
        return self.multiple or self.stride


@dataclass(frozen=True, kw_only=True)
class PipelineFacts:
    """Pipelines that run the same kind of model in the same way; subclasses and twins of their classes included."""

    name: str
    """Short name, for messages."""
    models: tuple[str, ...]
    """Classes of the denoising model, as in ``ModelFacts.classes``."""
    needs: frozenset[str] = frozenset()
    """Components and arguments of the call that a pipeline must have; of two that match, the one with more wins."""
    components: tuple[str, ...] = ("transformer", "transformer_2")
    """Components that rules enter, if present."""
    stride_attribute: str | None = "vae_scale_factor_temporal"
    """Pipeline attribute with the pixel frames per latent frame; None: one."""
    size_attribute: str = "vae_scale_factor_spatial"
    """Pipeline attribute with the pixels per latent row or column."""
    branches: Branches = "names"
    """How guidance branches are distinguished."""
    prompts: Prompts | None = None
    """Answer of ``encode_prompt``; None: another one, so that prompts over time are refused."""
    noise_axis: int | None = None
    """Axis of the frames in the latents that the pipeline draws; None: as in its models."""
    one_level: str | None = None
    """Reason that all frames of a forward share one noise level in such a pipeline; None: as its models have it."""
    ascending_sigmas: bool = False
    """True if the scheduler's sigmas rise from 0 to 1 as the noise decreases."""
    given_frames: int = 0
    """First latent frames that a pipeline gives instead of noise; a noise plan leaves them."""
    given: str | None = None
    """Reason that the first latents contain more than noise and ``given_frames``, as the end of a sentence; None: they
    do not."""
    channel_axis: int | None = None
    """Axis of the channels in the initial latents, if only the first ``num_channels_latents`` of them are noise and the
    others are a condition; None: all are noise."""
    largest: Callable[[Any], tuple[int, int]] | None = None
    """Returns the largest height and width in pixels; None: no limit."""
    published: tuple[Published, ...] = ()
    """Checkpoints, the more particular first; none: length and rate of the training clips are not known."""
    read: Callable[[Card, Any], Card] = lambda card, pipe: card
    """Returns the card with the values that the configuration of one pipeline overrides."""
    refused: str | None = None
    """Reason that no plug-in can work in such a pipeline, as the end of a sentence; None: plug-ins can."""

    def matches(self, models: Mapping[str, ModelFacts], has: frozenset[str]) -> int:
        """Return how well a pipeline fits: 0 if not at all, otherwise 1 plus the number of its needs.

        Args:
            models: facts of each component that has some.
            has: names of all components that are not None, and of the arguments of the call.
        """
        found = (models[name].classes for name in self.components if name in models)
        known = any(not set(self.models).isdisjoint(classes) for classes in found)
        return 1 + len(self.needs) if known and self.needs <= has else 0


def arguments_of_call(pipeline: type) -> frozenset[str]:
    """Return the names of the arguments of a pipeline's call."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(pipeline.__call__).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.kind in named) - {"self"}
