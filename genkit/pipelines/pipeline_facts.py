"""Facts of pipelines: what one does with its models, matched by what it has and takes, and its checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genkit.attention.facts.card import Card, Traits
from genkit.attention.facts.inputs import Input
from genkit.attention.facts.lengths import Lengths
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
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Billions of parameters of the denoising models, two experts together, by hub id; missing: not known."""
    stride: int = 4
    """Pixel frames per latent frame."""
    multiple: int | None = None
    """Legal lengths are k times this plus 1 pixel frames; None: k times ``stride`` plus 1."""
    own_lengths: Lengths | None = None
    """Legal lengths that follow another rule; None: that of ``multiple``."""
    defaults: Arguments = field(default_factory=dict)
    """Default arguments of this model that differ from its pipeline's."""
    when: Callable[[Any], bool] = lambda pipe: True
    """Returns True for a pipeline with such a checkpoint, by its configuration, never by a name."""

    @property
    def frame_step(self) -> int:
        """Difference of two neighbouring legal lengths, in pixel frames."""
        return self.lengths.step

    @property
    def lengths(self) -> Lengths:
        """Legal lengths."""
        return self.own_lengths or Lengths(step=self.multiple or self.stride)

    def weights(self, hub_id: str) -> float | None:
        """Return the GiB of a checkpoint's denoising models in bfloat16, which is 2 bytes a parameter; None: not known.

        Text encoders and the autoencoder take memory of their own.
        """
        billions = self.parameters.get(hub_id)
        return None if billions is None else billions * 2e9 / 2**30


@dataclass(frozen=True, kw_only=True)
class PipelineFacts(Traits):
    """Pipelines that run the same kind of model in the same way; subclasses and twins of their classes included."""

    name: str
    """Short name, for messages."""
    models: tuple[str, ...]
    """Classes of the denoising model, as in ``ModelFacts.classes``."""
    needs: frozenset[str] = frozenset()
    """Components and arguments of the call that a pipeline must have; of two that match, the one with more wins."""
    components: tuple[str, ...] = ("transformer", "transformer_2")
    """Components that rules enter, if present."""
    published: tuple[Published, ...] = ()
    """Checkpoints, the more particular first; none: length and rate of the training clips are not known."""
    read: Callable[[Card, Any], Card] = lambda card, pipe: card
    """Returns the card with the values that the configuration of one pipeline overrides."""
    takes: Mapping[str, Input] = field(default_factory=dict)
    """Inputs by genkit's word, where the call alone does not say them: other names, forms or lengths."""
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
