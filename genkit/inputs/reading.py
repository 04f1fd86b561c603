"""An input as the user gave it, read into frames: a file, an array, a PIL image, or a list of those."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genkit.checks.values import is_tensor, quote
from genkit.errors import UsageError
from genkit.inputs import arrays
from genkit.inputs.colours import to_rgb
from genkit.inputs.record import DIGEST, FILE, digest_of, flag_of, path_of, record_of_bytes

Note = Callable[[str], None]
STILLS = ("MPO",)
"""Formats of Pillow with several pictures that are no animation: photographs with a preview."""


@dataclass(frozen=True)
class Media:
    """Frames of one input."""

    frames: list[Any]
    """PIL images in RGB, all of one size except in a list of images."""
    fps: float | None
    """Frames per second of the file; None for an image, a list and an array."""
    record: Any
    """What a recipe stores."""
    moves: bool
    """True if it is a video or an animation, False for one image and a list of images."""


def read(name: str, value: Any, note: Note) -> Media:
    """Return the frames of an input.

    Args:
        name: word of the input, for messages.
        value: a path, a record of one, an array, a PIL image, a ``genkit.Video``, or a list of those.
        note: called with a sentence on each change of the colours.

    Raises:
        UsageError: there is no such file, it is neither an image nor a video, or the numbers cannot be an image.
    """
    if isinstance(value, list | tuple):
        return _of_list(name, value, note)
    if hasattr(value, "frames") and hasattr(value, "fps"):
        found = read(name, value.frames, note)
        return Media(found.frames, float(value.fps), found.record, True)
    if is_tensor(value):
        frames = arrays.frames_of(name, value, note)
        record = record_of_bytes(arrays.describe(value), [arrays.bytes_of(value)])
        return Media([to_rgb(name, frame, note) for frame in frames], None, record, len(frames) > 1)
    if hasattr(value, "getbands"):
        what = f"PIL image {value.mode} {value.width}x{value.height}"
        return Media([to_rgb(name, value, note)], None, record_of_bytes(what, [value.tobytes()]), False)
    if isinstance(value, str | Path | dict):
        return _of_file(name, value, note)
    raise UsageError(f"{name}={quote(value)} must be a path, an array, a PIL image, a Video or a list of those")


def read_sound(name: str, value: Any) -> Media:
    """Return a sound as the pipeline takes it: the path of a file, or an array as it is.

    Raises:
        UsageError: there is no such file, or it is neither a path nor an array.
    """
    if is_tensor(value):
        record = record_of_bytes(arrays.describe(value), [arrays.bytes_of(value)])
        return Media([value], None, record, False)
    if not isinstance(value, str | Path | dict):
        raise UsageError(f"{name}={quote(value)} must be a path or an array")
    path = path_of(name, value)
    return Media([str(path)], None, {FILE: str(path), DIGEST: digest_of(path)}, False)


def _of_list(name: str, values: Any, note: Note) -> Media:
    if not values:
        raise UsageError(f"{name} is an empty list; give at least one image")
    parts = [read(name, value, note) for value in values]
    frames = [frame for part in parts for frame in part.frames]
    record: Any = [part.record for part in parts]
    if all("given" in item for item in record if isinstance(item, dict)):
        record = record_of_bytes(f"{len(frames)} images", (part.record[DIGEST].encode() for part in parts))
    return Media(frames, None, record, False)


def _of_file(name: str, value: Any, note: Note) -> Media:
    path = path_of(name, value)
    record = {FILE: str(path), DIGEST: digest_of(path)}
    opened = _open_image(name, path)
    if opened is None:
        film = _film(name, path)
        from PIL import Image

        return Media([Image.fromarray(frame) for frame in film.frames], float(film.fps), record, True)
    animated = getattr(opened, "n_frames", 1) > 1 and opened.format not in STILLS
    pictures, fps = list(_pictures(opened)) if animated else [opened], _rate(opened) if animated else None
    return Media([to_rgb(name, picture, note) for picture in pictures], fps, record, animated)


def _open_image(name: str, path: Path) -> Any:
    """Return the file as Pillow opens it; None if it is not an image."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(path.read_bytes())) if _may_be_image(path) else None
        if image is not None:
            image.load()
        return image
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise UsageError(f"{name}={str(path)!r} is too large an image: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{name}={str(path)!r} is a damaged image: {error}") from error


def _may_be_image(path: Path) -> bool:
    """Return False for a file that Pillow does not know by its beginning, so that a long video is not read twice."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:
        return False


def _film(name: str, path: Path) -> Any:
    from genkit.files.decode import read_film

    try:
        return read_film(path)
    except UsageError as error:
        raise UsageError(f"{name}={str(path)!r} cannot be read as an image or a video: {error}") from error


def _pictures(image: Any) -> Iterator[Any]:
    for place in range(image.n_frames):
        image.seek(place)
        yield image.copy()


def _rate(image: Any) -> float:
    """Return the frames per second of an animation, from the mean duration of its frames."""
    durations = []
    for place in range(image.n_frames):
        image.seek(place)
        durations.append(image.info.get("duration") or 100)
    return float(1000 / np.mean(durations))


def one_image(name: str, media: Media) -> Any:
    """Return the only image of an input.

    Raises:
        UsageError: it is an animation or a video, or there are several.
    """
    if len(media.frames) == 1:
        return media.frames[0]
    if media.moves:
        raise UsageError(
            f"{name} has {len(media.frames)} frames and one image is needed; save one of its frames as an image, or "
            "give it as video"
        )
    raise UsageError(f"{name} is one image, but {len(media.frames)} were given; make a video for each")


def several_frames(name: str, media: Media) -> Media:
    """Return a video unless it is a still image.

    Raises:
        UsageError: it is one image.
    """
    if len(media.frames) == 1 and not media.moves:
        raise UsageError(
            f"{name} is a video, but one image was given; give a video, or the image by {flag_of('image')}"
        )
    return media
