"""Facts of one class of denoising models: where its attention is, what its tokens are, what it takes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from genkit.attention.calls.call import Kind
from genkit.attention.facts.positions import NO_POSITIONS, PositionFacts
from genkit.attention.facts.volume import Arguments, Volume

VolumeOf = Callable[[nn.Module, Arguments], Volume]
Count = Callable[[nn.Module, Arguments], int]
Before = Callable[[nn.Module, Arguments], int | None]
Levels = Callable[[nn.Module, Arguments], Any]


def timestep(model: nn.Module, arguments: Arguments) -> Any:
    """Return the argument ``timestep``: of each video, latent frame or token."""
    return arguments.get("timestep")


def nothing_before(model: nn.Module, arguments: Arguments) -> int:
    """Return 0: other tokens stand after the video, or in no sequence with it."""
    return 0


def none_in_self(model: nn.Module, arguments: Arguments) -> int:
    """Return 0: ``self`` layers see the tokens of the video alone."""
    return 0


def no_images_in_front(model: nn.Module, arguments: Arguments) -> int:
    """Return 0: all frames of the latents are the video's."""
    return 0


def all_are_queries(model: nn.Module, arguments: Arguments) -> int:
    """Return 0: every token that a call reads has a query in it."""
    return 0


def all_before(model: nn.Module, arguments: Arguments) -> None:
    """Return None: all other tokens stand before the video."""
    return None


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One class of models, or several that differ only in what stands here for none of them; subclasses included."""

    classes: tuple[str, ...]
    """Class names, looked up along the bases of a model's class."""
    layers: Mapping[Kind, str]
    """Regular expressions that match the full names of the attention modules of each kind."""
    volume: VolumeOf
    """Reads the token volume from a forward call of the model."""
    levels: Levels = timestep
    """Reads the timesteps of the video from a forward call: of the whole video, or of each latent frame or token."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions of attention modules that no rule acts in, each with the reason."""
    dense: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions of modules that attend to the video and stay as they are, each with the reason, which the
    receipt contains."""
    before: Before = nothing_before
    """Returns how many other tokens stand before the video where they share its sequence; None: all of them."""
    keys_only: Count = all_are_queries
    """Returns how many tokens in front of the queries of ``joint`` layers are keys only, from another stream."""
    text_calls: int = 0
    """Calls of each ``joint`` layer in a forward, the first ones, that see text alone; no rule acts in them."""
    others_in_self: Count = none_in_self
    """Returns how many other tokens, such as keyframes and references, share the sequence of ``self`` layers."""
    lead: Count = no_images_in_front
    """Returns how many frames of the volume, the first ones, are images outside the video's time: references."""
    frame_axis: int | None = 2
    """Axis of the frames in the latents; None: tokens packed frame by frame in axis 1."""
    blocks: tuple[str, ...] = ()
    """Module lists of the blocks, in execution order, if all see the same token sequence and nothing else that is
    ordered by token; empty otherwise."""
    positions: PositionFacts = NO_POSITIONS
    """Temporal positions."""
    one_level: str | None = "it takes one timestep for all frames"
    """Reason that all frames of a forward share one noise level; None: each may have its own (per-token timesteps)."""
    one_piece: str | None = None
    """Reason that each forward must see the video from its first frame on, as the end of a sentence; None: windows of
    frames may be forwards of their own."""
    longest: Callable[[nn.Module], int | None] = lambda model: None
    """Returns the largest number of latent frames that the positions of a model allow; None: no limit."""
    read: Callable[["ModelFacts", nn.Module], "ModelFacts"] = lambda facts, model: facts
    """Returns the facts with the values that the configuration of one model overrides."""
    refused: str | None = None
    """Reason that no rule can act in such a model, as the end of a sentence; None: rules can."""

    @property
    def folds(self) -> bool:
        """True if attention along time and inside a frame are apart, each with the other axes in the batch."""
        return "temporal" in self.layers

    def kind_of(self, module_name: str) -> Kind | None:
        """Return the kind of an attention module by its full name inside the model; None if it is not hooked."""
        return next((kind for kind, pattern in self.layers.items() if re.fullmatch(pattern, module_name)), None)


def class_names(kind: Any) -> list[str]:
    """Return the names of a class and its bases, the nearest first."""
    return [base.__name__ for base in getattr(kind, "__mro__", ())]
