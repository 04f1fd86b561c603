"""Name the reader of a model's volume that fits what experiments have found."""

from dataclasses import dataclass
from math import prod

from torch import nn

from genkit.attention.facts import volume as readers
from genkit.attention.facts.coordinates import Volume
from genkit.attention.facts.model_facts import VolumeOf
from genkit.attention.facts.volume import Arguments
from genkit.tracing.reading.experiments import Experiments
from genkit.tracing.reading.places import Places, axes_of, is_packed

LAYOUTS = {
    "channels_first": "[batch, channels, frames, rows, columns]",
    "frames_first": "[batch, frames, channels, rows, columns]",
    "channels_last": "[batch, frames, rows, columns, channels]",
    "unet": "[batch, channels, frames, rows, columns]",
    "unet_frames_first": "[batch, frames, channels, rows, columns]",
    "packed": "[batch, tokens, channels]",
}
"""Readers of ``genkit.attention.facts.volume``, each with the axes of the latents."""
FRAME_AXES = {"frames_first": 1, "channels_last": 1, "unet_frames_first": 1, "packed": None}
"""Axis of the frames, where it is not 2."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model's volume is read from a call."""

    name: str
    """Name of the reader in ``genkit.attention.facts.volume``; empty: none of them fits."""
    reader: VolumeOf
    """The reader."""
    volume: Volume
    """Frames, rows and columns of tokens in the traced call."""
    frame_axis: int | None
    """Axis of the frames in the latents; None: packed tokens."""
    latents: str = "hidden_states"
    """Name of the argument with the latents, where none of the readers fits."""
    axes: tuple[int, ...] = ()
    """Axes of frames, rows and columns, where none of the readers fits."""
    patch: tuple[int, ...] = ()
    """Latents of one token along each of them."""

    @property
    def layout(self) -> str:
        """Axes of the latents."""
        return LAYOUTS.get(self.name, f"frames, rows and columns in the axes {self.axes}")


def reading_of(found: Experiments, places: Places) -> Reading | None:
    """Return the reader that gives the volume that was found; None if the volume was not found."""
    if is_packed(found, places):
        volume = _try("packed", found)
        fits = volume is not None and prod(volume) <= places.video
        return _reading("packed", volume) if fits and volume is not None else None
    axes = axes_of(found, places)
    if axes is None:
        return _by_size(found, places)
    if not axes.frames_first:
        return None
    for name in ("channels_first", "frames_first", "channels_last"):
        if _try(name, found) == axes.volume and FRAME_AXES.get(name, 2) == axes.video[0]:
            return _reading(name, axes.volume)
    return _by_axes(found.latents, axes.volume, axes.video, axes.patch)


def _by_size(found: Experiments, places: Places) -> Reading | None:
    """Return the only reader with as many tokens as the video: layers before the first attention may mix its rows."""
    volumes = {name: _try(name, found) for name in ("channels_first", "frames_first", "channels_last")}
    fits = [(name, volume) for name, volume in volumes.items() if volume and prod(volume) == places.video]
    return _reading(*fits[0]) if len(fits) == 1 else None


def folded_reading(found: Experiments) -> Reading | None:
    """Return the reader of a model with attention along time and inside frames apart, by the shapes of its calls."""
    for name in ("unet", "unet_frames_first", "channels_first", "frames_first", "channels_last"):
        volume = _try(name, found)
        if volume is not None and volume[0] > 1 and _folds(found, volume):
            return _reading(name, volume)
    return None


def levels(volume: Volume) -> list[tuple[int, int]]:
    """Return the rows and columns of each level of a UNet, which halves them and rounds up."""
    found = [volume[1:]]
    while prod(found[-1]) > 1:
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


def _folds(found: Experiments, volume: Volume) -> bool:
    """Return True if some calls have frames in the batch and others rows and columns."""
    batch, frames = found.given.shape[0], volume[0]
    sizes = [rows * cols for rows, cols in levels(volume)]
    square = {(call.batch, call.tokens[0]) for call in found.calls if call.tokens[0] == call.tokens[1]}
    inside = any((batch * frames, size) in square for size in sizes)
    along = any((batch * size, frames) in square for size in sizes)
    return inside and along


def _try(name: str, found: Experiments) -> Volume | None:
    try:
        volume: Volume = getattr(readers, name)(found.forward.model, found.forward.arguments)
    except Exception:
        return None
    return volume if all(size > 0 for size in volume) else None


def _reading(name: str, volume: Volume) -> Reading:
    return Reading(name=name, reader=getattr(readers, name), volume=volume, frame_axis=FRAME_AXES.get(name, 2))


def _by_axes(latents: str, volume: Volume, axes: tuple[int, ...], patch: tuple[int, ...]) -> Reading:
    def read(model: nn.Module, arguments: Arguments) -> Volume:
        frames, rows, cols = (arguments[latents].shape[axis] // size for axis, size in zip(axes, patch, strict=True))
        return frames, rows, cols

    return Reading(name="", reader=read, volume=volume, frame_axis=axes[0], latents=latents, axes=axes, patch=patch)
