"""The arguments and the prediction of a model's forward by frames: taken apart, and cut to a window."""

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from genkit.attention.facts.model_card import ModelCard
from genkit.attention.facts.volume import Volume, patch_of
from genkit.attention.geometry.windows import Window

LATENTS = ("hidden_states", "sample")
"""Names of the argument with the latents."""
POSITIONS = frozenset({"image_rotary_emb"})
"""Tables of positions by token, of which each window takes the first ones: it counts from its own first frame."""
APART = frozenset({
    "encoder_hidden_states",
    "encoder_attention_mask",
    "encoder_hidden_states_image",
    "pooled_projections",
    "guidance",
    "timestep_cond",
    "ofs",
    "class_labels",
    "attention_mask",
    "attention_kwargs",
    "cross_attention_kwargs",
    "added_cond_kwargs",
})  # fmt: skip
"""Arguments about the text or the whole video; where they are repeated for each frame, a window takes its own."""


@dataclass(frozen=True)
class Frames:
    """How the latents of one forward are divided into frames of tokens."""

    volume: Volume
    """Frames, rows and columns of tokens."""
    axis: int | None
    """Axis of the latent frames; None: the latents are tokens ``[B, tokens, C]``, frame by frame."""
    patch: int
    """Latent frames that share a token."""

    def split(self, latents: Tensor) -> Tensor:
        """Return latents or a prediction as a view ``[B, frames, ...]``, in frames as attention counts them."""
        if self.axis is None:
            return latents.unflatten(1, (-1, prod(self.volume[1:])))
        return latents.movedim(self.axis, 1).unflatten(1, (-1, self.patch))

    def join(self, latents: Tensor) -> Tensor:
        """Return what ``split`` made its view of; the number of frames may differ."""
        joined = latents.flatten(1, 2)
        return joined if self.axis is None else joined.movedim(1, self.axis)


def frames_of(card: ModelCard, model: nn.Module, arguments: dict[str, Any]) -> Frames:
    """Return the division of a forward's latents into frames."""
    return Frames(card.volume(model, arguments), card.latent_frame_axis, patch_of(model)[0])


def latents_of(arguments: dict[str, Any]) -> Tensor:
    """Return the latents that a model is given."""
    found: Tensor = arguments[next(name for name in LATENTS if name in arguments)]
    return found


def cut(arguments: dict[str, Any], latents: Tensor, frames: Frames, window: Window) -> dict[str, Any]:
    """Return a forward's arguments for the frames of ``window``, with ``latents`` in the model's own layout.

    Raises:
        ValueError: an argument whose frames are not known.
    """
    return {name: _cut_one(name, value, latents, frames, window) for name, value in arguments.items()}


def _cut_one(name: str, value: Any, latents: Tensor, frames: Frames, window: Window) -> Any:
    length = window.end - window.begin
    if name in LATENTS:
        return latents
    if name == "num_frames":
        return length * frames.patch
    if name in POSITIONS:
        return _each(value, lambda table: _first_tokens(name, table, frames, length))
    if name == "timestep":
        return _levels(value, frames, window)
    if name in APART:
        return _each(value, lambda one: _repeated(one, len(latents), window))
    if _has_tensor(value):
        raise ValueError(
            f"the model is given {name!r}, and it is not known which of its numbers belong to which frames, so it "
            "cannot be cut into windows; leave it out, or leave out the plug-in that makes windows"
        )
    return value


def _first_tokens(name: str, table: Tensor, frames: Frames, length: int) -> Tensor:
    """A table by token, of which a window has fewer."""
    if prod(frames.volume) not in table.shape:
        raise ValueError(f"{name} has {list(table.shape)} where {prod(frames.volume)} tokens were expected in one axis")
    return table.narrow(table.shape.index(prod(frames.volume)), 0, length * prod(frames.volume[1:]))


def _levels(timestep: Any, frames: Frames, window: Window) -> Any:
    """Noise levels of each video, latent frame or token."""
    if not isinstance(timestep, Tensor) or timestep.ndim < 2 or timestep[0].numel() == 1:
        return timestep
    if timestep.shape[1] % frames.volume[0]:
        raise ValueError(
            f"timestep has {list(timestep.shape)}, which is not a noise level for each of {frames.volume[0]} frames or "
            "of their tokens, so it cannot be cut into windows; leave out the plug-in that makes them"
        )
    by_frame = timestep.unflatten(1, (frames.volume[0], -1))
    return by_frame[:, window.begin : window.end].flatten(1, 2)


def _repeated(value: Tensor, batch: int, window: Window) -> Tensor:
    if value.ndim < 2 or len(value) != batch * window.frames or window.frames == 1:
        return value
    return value.unflatten(0, (batch, window.frames))[:, window.begin : window.end].flatten(0, 1)


def _each(value: Any, change: Any) -> Any:
    """``change`` of each tensor in nested containers."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_each(one, change) for one in value)
    if isinstance(value, dict):
        return {name: _each(one, change) for name, one in value.items()}
    return value


def _has_tensor(value: Any) -> bool:
    found: list[Tensor] = []

    def seen(one: Tensor) -> Tensor:
        found.append(one)
        return one

    _each(value, seen)
    return bool(found)


def prediction_of(output: Any) -> Tensor:
    """Return the one tensor that a model gives.

    Raises:
        ValueError: it gives several, of which only the first could be put together from windows.
    """
    tensors = [output] if isinstance(output, Tensor) else list(output if isinstance(output, tuple) else output.values())
    if len(tensors) != 1:
        raise ValueError(
            f"the model gives {len(tensors)} tensors and not one prediction, so windows of it cannot be put together; "
            "leave out the plug-in that makes windows"
        )
    return tensors[0]


def with_prediction(output: Any, prediction: Tensor) -> Any:
    """Return a model's output with ``prediction`` in the place of its own."""
    if isinstance(output, Tensor):
        return prediction
    if isinstance(output, tuple):
        return (prediction,)
    return type(output)(prediction)
