"""Arguments and prediction of a model's forward: split into frames and cut to a window."""

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import Volume, patch_of
from genkit.attention.geometry.windows import Window

LATENTS = ("hidden_states", "sample", "latents", "vision_tokens")
"""Names of the argument with the latents, a tensor or a list of one."""
POSITIONS = frozenset({"image_rotary_emb"})
"""Tables of positions by token; each window takes the first ones, because positions restart in windows."""
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
"""Arguments for the text or the whole video; if they are repeated for each frame, a window takes its own."""

MEANINGS = {
    "added_time_ids": "its frame rate and its motion",
    "audio_hidden_states": "the sound of the whole video",
    "condition_mask": "a mask of the frames that were given",
    "control_hidden_states": "a control video",
    "control_latents": "a control video",
    "controls_latents": "a control video",
    "down_block_additional_residuals": "what a control network adds to each of its layers",
    "encoder_hidden_states_2": "a second text",
    "fps": "its frame rate and the image for every frame",
    "id_cond": "the face that it keeps",
    "image_embeds": "what an image shows",
    "indices_hidden_states": "the places of its frames after those of earlier chunks",
    "inpaint_latents": "the video that it fills in",
    "mid_block_additional_residual": "what a control network adds to its middle layer",
    "padding_mask": "a mask of the whole picture",
    "pose_hidden_states": "a video of the pose",
    "r_timestep": "a second noise level, to which a step goes",
    "video_coords": "the place and time of each token",
    "visual_rope_pos": "the numbers of its frames, rows and columns",
}
"""What arguments are that no window can be cut out of, for users."""
ADVICE = "leave out the plug-in that makes windows"


@dataclass(frozen=True)
class Frames:
    """Division of the latents of one forward into token frames."""

    volume: Volume
    """Frames, rows and columns of tokens."""
    axis: int | None
    """Axis of the latent frames; None: the latents are tokens ``[B, tokens, C]``, frame by frame."""
    patch: int
    """Latent frames per token."""

    def split(self, latents: Tensor) -> Tensor:
        """Return latents or a prediction as a view ``[B, frames, ...]`` by token frame."""
        if self.axis is None:
            return latents.unflatten(1, (-1, prod(self.volume[1:])))
        return latents.movedim(self.axis, 1).unflatten(1, (-1, self.patch))

    def join(self, latents: Tensor) -> Tensor:
        """Undo ``split``; the number of frames may differ."""
        joined = latents.flatten(1, 2)
        return joined if self.axis is None else joined.movedim(1, self.axis)


def frames_of(facts: ModelFacts, model: nn.Module, arguments: dict[str, Any]) -> Frames:
    """Return the division of a forward's latents into frames."""
    return Frames(facts.volume(model, arguments), facts.frame_axis, patch_of(model)[0])


def latents_of(arguments: dict[str, Any]) -> Tensor:
    """Return the latents among the arguments of a model."""
    given: Tensor | list[Tensor] = arguments[next(name for name in LATENTS if name in arguments)]
    return given if isinstance(given, Tensor) else given[0]


def of_video(timestep: Any, volume: Volume, before: int | None, others: int) -> Any:
    """Return a model's timestep without the levels of ``others``, tokens in one sequence with the video's."""
    tokens = prod(volume)
    if not others or not isinstance(timestep, Tensor) or timestep.ndim < 2 or timestep.shape[1] != tokens + others:
        return timestep
    return timestep.narrow(1, others if before is None else before, tokens)


def cut(arguments: dict[str, Any], latents: Tensor, frames: Frames, window: Window) -> dict[str, Any]:
    """Return a forward's arguments for the frames of ``window``, with ``latents`` in the model's own layout.

    Raises:
        ValueError: an argument whose frame axis is unknown.
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
        what = MEANINGS.get(name, "something whose frames are not known")
        raise ValueError(
            f"each forward of this model also gets {what} ({name}), which cannot be cut into windows of frames; "
            f"{ADVICE}"
        )
    return value


def _first_tokens(name: str, table: Tensor, frames: Frames, length: int) -> Tensor:
    """First entries of a table by token, as many as a window has tokens."""
    if prod(frames.volume) not in table.shape:
        raise ValueError(
            f"this model gets positions of shape {list(table.shape)} ({name}), not one for each of its "
            f"{prod(frames.volume)} tokens, so they cannot be cut into windows of frames; {ADVICE}"
        )
    return table.narrow(table.shape.index(prod(frames.volume)), 0, length * prod(frames.volume[1:]))


def _levels(timestep: Any, frames: Frames, window: Window) -> Any:
    """Noise levels of a window, given one for each video, latent frame or token."""
    if not isinstance(timestep, Tensor) or timestep.ndim < 2 or timestep[0].numel() == 1:
        return timestep
    if timestep.shape[1] % frames.volume[0]:
        raise ValueError(
            f"this model gets noise levels of shape {list(timestep.shape)}, not one for each of its "
            f"{frames.volume[0]} frames or their tokens, so they cannot be cut into windows of frames; {ADVICE}"
        )
    by_frame = timestep.unflatten(1, (frames.volume[0], -1))
    return by_frame[:, window.begin : window.end].flatten(1, 2)


def _repeated(value: Tensor, batch: int, window: Window) -> Tensor:
    if value.ndim < 2 or len(value) != batch * window.frames or window.frames == 1:
        return value
    return value.unflatten(0, (batch, window.frames))[:, window.begin : window.end].flatten(0, 1)


def _each(value: Any, change: Any) -> Any:
    """``change`` applied to each tensor in nested containers."""
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
    """Return the single tensor that a model returns.

    Raises:
        ValueError: the model returns several, which cannot be fused from windows.
    """
    tensors = [output] if isinstance(output, Tensor) else list(output if isinstance(output, tuple) else output.values())
    if len(tensors) != 1:
        raise ValueError(
            f"the model returns {len(tensors)} tensors instead of one prediction, so its windows cannot be fused; "
            "leave out the plug-in that makes windows"
        )
    return tensors[0]


def with_prediction(output: Any, prediction: Tensor) -> Any:
    """Return a model's output with its prediction replaced."""
    if isinstance(output, Tensor):
        return prediction
    if isinstance(output, tuple):
        return (prediction,)
    return type(output)(prediction)
