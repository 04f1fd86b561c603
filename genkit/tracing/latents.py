"""Read from a recorded run how its latents are related to pixels, to those of the model, and to what was given."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.volume import patch_of
from genkit.attention.replays.replay import replay
from genkit.recording.recording import Recording, record
from genkit.recording.small import LENGTHS, SPATIAL, TEMPORAL, is_seen
from genkit.tracing.models import ModelTrace
from genkit.tracing.reading.experiments import latents_name
from genkit.tracing.reading.findings import Found, Missing, quoted


def first_tensor(answers: Sequence[Any]) -> Tensor | None:
    """Return the latents in the first answer of ``prepare_latents``: the first item of several."""
    first = answers[0] if answers else None
    first = first[0] if isinstance(first, tuple | list) and first else first
    return first if isinstance(first, Tensor) and first.ndim > 2 else None


def strides_of(recording: Recording, model: ModelTrace) -> list[Found | Missing | None]:
    """Return the attributes of the pipeline that say how latents and pixels are related."""
    sizes, takes = _latent_sizes(recording, model), recording.arguments
    asked = next((takes[name] for name in LENGTHS if isinstance(takes.get(name), int)), None)
    made: list[Found | Missing | None] = []
    for field, names, pixels, latents, usual in (
        ("stride_attribute", TEMPORAL, asked, sizes[0], TEMPORAL[0]),
        ("size_attribute", SPATIAL, takes.get("height"), sizes[1], SPATIAL[0]),
    ):
        there = [name for name in names if isinstance(getattr(recording.pipe, name, None), int)]
        fits = [name for name in there if _agrees(getattr(recording.pipe, name), pixels, latents, field)] or there
        if fits and fits[0] == usual:
            made.append(Found(field="", said=f"{usual}: {getattr(recording.pipe, usual)}"))
        elif fits:
            said = f"{getattr(recording.pipe, fits[0])} pixels or frames are one latent"
            made.append(Found(field=field, value=fits[0], code=quoted(fits[0]), said=said))
        elif field == "stride_attribute" and pixels in (None, latents):
            made.append(Found(field=field, value=None, said="each frame has latents of its own"))
        else:
            made.append(Missing(field=field, said="how many pixels or frames one latent spans"))
    return made


def more_frames(recording: Recording, model: ModelTrace) -> Missing | None:
    """Return that the latents have more frames than the video asked for, which may be images out of its time."""
    takes, (frames, _) = recording.arguments, _latent_sizes(recording, model)
    asked = next((takes[name] for name in LENGTHS if isinstance(takes.get(name), int)), None)
    strides = [getattr(recording.pipe, name, None) for name in TEMPORAL]
    stride = next((number for number in strides if isinstance(number, int)), None)
    if asked is None or frames is None or stride is None or frames <= (asked - 1) // stride + 1:
        return None
    more = frames - (asked - 1) // stride - 1
    said = f"{more} of {frames} latent frames more than {asked} frames need: if they are images in front of the video, "
    return Missing(field="lead", said=f"{said}fill in `lead` of the model's facts")


def _agrees(number: int, pixels: Any, latents: int | None, field: str) -> bool:
    if not isinstance(pixels, int) or latents is None:
        return True
    return (pixels - 1) // number + 1 == latents if field == "stride_attribute" else pixels // number == latents


def _latent_sizes(recording: Recording, model: ModelTrace) -> tuple[int | None, int | None]:
    """Return the latent frames and rows of the first forward, by the facts of the model."""
    facts, first = model.facts, recording.first[model.component]
    assert facts is not None
    try:
        frames, rows, _ = facts.volume(first.model, first.arguments)
        time, down, _ = patch_of(first.model)
    except (TypeError, ValueError):
        return None, None
    return (frames - facts.lead(first.model, first.arguments)) * time, rows * down


def noise_of(recording: Recording, model: ModelTrace) -> list[Found]:
    """Return where the latents that the pipeline draws differ from those of its model."""
    noise, facts = first_tensor(recording.prepared), model.facts
    first = recording.first[model.component]
    given = first.arguments[latents_name(first.arguments) or ""]
    if noise is None or facts is None or noise.ndim != given.ndim or facts.frame_axis is None:
        return []
    frames, made = given.shape[facts.frame_axis], _condition(recording, model, noise, given)
    axes = [axis for axis in (1, 2) if noise.shape[axis] == frames]
    if facts.frame_axis not in axes and axes:
        said = f"frames in axis {axes[0]} of the latents that it draws"
        made.append(Found(field="noise_axis", value=axes[0], said=said))
    return made


def _condition(recording: Recording, model: ModelTrace, noise: Tensor, given: Tensor) -> list[Found]:
    """Return the axis of the channels, if the latents have more of them than the model changes: a condition."""
    out = replay(recording.first[model.component]).output[0]
    if noise.shape != given.shape or out.ndim != given.ndim:
        return []
    axes = [axis for axis, (a, b) in enumerate(zip(given.shape, out.shape, strict=True)) if a != b]
    if len(axes) != 1 or out.shape[axes[0]] > given.shape[axes[0]]:
        return []
    axis = axes[0] if axes[0] + 1 < given.ndim else -1
    said = f"{out.shape[axis]} of {given.shape[axis]} channels are noise, the others a condition"
    return [Found(field="channel_axis", value=axis, said=said)]


def given_of(recording: Recording, model: ModelTrace) -> list[Found]:
    """Return which of the first latents contain an image or a video that was given: those that differ with another."""
    takes = {name: value for name, value in recording.arguments.items() if is_seen(name)}
    noise = first_tensor(recording.prepared)
    if not takes or noise is None:
        return []
    said = "an image or a video that was given is in its frames"
    made = [Found(field="one_level", value=said, code=quoted(said), said=said)]
    other = _with_others(recording, takes)
    if other is None or other.shape != noise.shape:
        moved: list[int] = [-1]
    else:
        by_frame = _by_frame(noise != other, recording, model)
        moved = by_frame.flatten(1).any(1).nonzero().flatten().tolist()
    if moved == [0]:
        return [*made, Found(field="given_frames", value=1, said="the first latent frame is the image's")]
    if moved:
        why = "those contain what was given, in frames that were not found"
        return [*made, Found(field="given", value=why, code=quoted(why), said=why)]
    return [*made, Found(field="", said="the first latents are noise alone, whatever was given")]


def _by_frame(latents: Tensor, recording: Recording, model: ModelTrace) -> Tensor:
    """Return latents with their frames in the first axis; packed ones are in frames of as many tokens each."""
    facts, first = model.facts, recording.first[model.component]
    assert facts is not None
    if facts.frame_axis is not None:
        return latents.movedim(facts.frame_axis, 0)
    _, rows, cols = facts.volume(first.model, first.arguments)
    whole = latents.shape[1] - latents.shape[1] % (rows * cols)
    return latents[:, :whole].unflatten(1, (-1, rows * cols)).movedim(1, 0)


def _with_others(recording: Recording, takes: dict[str, Any]) -> Tensor | None:
    """Return the first latents of a run with other images and videos and the same noise; None if it fails."""
    arguments = dict(recording.arguments) | {name: _mirrored(value) for name, value in takes.items()}
    if recording.drawn_from is not None:
        arguments["generator"] = torch.Generator(arguments["generator"].device)
        arguments["generator"].set_state(recording.drawn_from)
    try:
        return first_tensor(record(recording.pipe, **arguments).prepared)
    except Exception:
        return None


def _mirrored(value: Any) -> Any:
    if isinstance(value, list):
        return [_mirrored(one) for one in value]
    if isinstance(value, Tensor):
        return value.flip(-1)
    from PIL import Image, ImageOps

    return ImageOps.mirror(value) if isinstance(value, Image.Image) else value
