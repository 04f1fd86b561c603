"""Reading a video file: its header, and its frames as players show them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.checks.memory import free_memory
from genkit.errors import GenkitError, UsageError
from genkit.files.colours import Exact, convert_as_pyav
from genkit.files.container import COMMENT_CHARACTERS, ffmpeg_errors, is_cut, open_video
from genkit.files.packets import survey

FILM_BYTES = 2**33
"""Max bytes of one file's decoded frames: 1040 frames of 1920x1080 take 6.5 GB."""
CHUNK = 16
"""Frames by which the array grows."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header of a video file, read without decoding frames."""

    frames: int
    """Number of frames; 0 if the container does not state it."""
    height: int
    """Rows of pixels in the file."""
    width: int
    """Columns of pixels in the file."""
    fps: float
    """Frames per second as stated by the container; :func:`read_film` measures them."""
    comment: str
    """The comment tag; empty if there is none."""
    generator: str
    """genkit's generator tag; empty if there is none."""


def read_header(path: Path) -> Header:
    """Read the header of a video file.

    For an untrusted file use :func:`genkit.files.apart.read_header_apart`.

    Raises:
        UsageError: there is no such file, its suffix is not that of a video, it is empty, it contains no video, or its
            frames or its comment are too large.
    """
    with open_video(path) as (container, stream):
        context = stream.codec_context
        return Header(
            frames=stream.frames,
            height=context.height,
            width=context.width,
            fps=float(stream.average_rate or 0),
            comment=_comment(path, container.metadata),
            generator=container.metadata.get("generator", ""),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """Decoded frames of a file."""

    frames: NDArray[np.uint8]
    """``[T, H, W, 3]``, RGB."""
    fps: float
    """Number of frames over seconds."""


class TooLittleMemory(GenkitError):
    """The frames of a file do not fit into the memory that is free now."""


def read_film(path: Path, *, tagged: bool = False, copies: int = 1) -> Film:
    """Decode the frames of a video file that players show, rotated as they show them.

    Colours follow the file's tags, BT.601 if there are none. The frames are kept in memory once.

    Args:
        path: the file.
        tagged: convert colours bit-identically to OpenCV, decord and PyAV by default; else with exact rounding.
        copies: multiple of the frames' size that must be free, for further work on them.

    Raises:
        UsageError: as :func:`read_header`; or the frames take more than :data:`FILM_BYTES`.
        TooLittleMemory: they take more memory than is free.
        GenkitError: the file ends early, is damaged, or its frames change their size.
    """
    packets = survey(path)
    with open_video(path) as (container, stream):
        context = stream.codec_context
        height, width = context.height, context.width
        what = f"the {packets.frames} frames of {width}x{height} in {str(path)!r}"
        check_fits(what, packets.frames * height * width * 3, copies)
        if packets.hidden * height * width * 3 > FILM_BYTES:
            raise UsageError(f"{str(path)!r} contains {packets.hidden} frames hidden by its cut: re-encode it first")
        frames, problem = _decode_all(path, _intact_frames(container, stream), convert_as_pyav if tagged else Exact())
    if problem or not packets.whole or is_cut(path) or not len(frames):
        raise GenkitError(
            f"only {len(frames)} of {packets.stored} frames of {str(path)!r} can be decoded: "
            "the file is cut short or damaged"
            if len(frames) < packets.stored
            else f"{str(path)!r} ends after {len(frames)} frames: the file is cut short or damaged"
        ) from problem
    return Film(frames=frames, fps=packets.fps)


def read_frames(path: Path, *, tagged: bool = False) -> NDArray[np.uint8]:
    """Decode the frames of a video file, ``[T, H, W, 3]``; arguments and errors are those of :func:`read_film`."""
    return read_film(path, tagged=tagged).frames


def check_fits(what: str, needed: int, copies: int = 1) -> None:
    """Refuse frames that would not fit, before any is decoded.

    Args:
        what: their name in the error.
        needed: bytes they take when decoded.
        copies: multiple of that which the caller's work on them takes.

    Raises:
        UsageError: more than :data:`FILM_BYTES`.
        TooLittleMemory: more than is free now.
    """
    free = free_memory()
    about = f"{what} take {needed / 2**30:.3g} GiB of memory"
    if needed > FILM_BYTES:
        raise UsageError(f"{about}; at most {FILM_BYTES / 2**30:g} are read: cut it or scale it down first")
    if needed * copies > free:
        times = f", and the work on them {copies} times as much" if copies > 1 else ""
        raise TooLittleMemory(f"{about}{times}, but {free / 2**30:.3g} are free: cut it or scale it down first")


def _comment(path: Path, metadata: dict[str, str]) -> str:
    comment = next((value for key, value in metadata.items() if key.lower() == "comment"), "")  # Matroska: capitals
    if len(comment) > COMMENT_CHARACTERS:
        raise UsageError(
            f"the comment in {str(path)!r} has {len(comment):,} characters; at most {COMMENT_CHARACTERS:,} are read"
        )
    return comment


def _intact_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames up to the first damaged one, which raises."""
    stream.thread_type = "SLICE"  # frame threads would return frames before their damage is known
    for packet in container.demux(stream):
        if packet.is_corrupt and not packet.is_discard:
            yield from stream.codec_context.decode(None)
            raise ValueError("a packet is not complete")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise ValueError("a frame is damaged")
            yield frame


def _check_goes_on(path: Path, count: int, film: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    """Refuse a frame that the packets did not announce: headers cannot be trusted."""
    if picture.shape != film.shape[1:]:
        sizes = [f"{width}x{height}" for height, width, _ in (film.shape[1:], picture.shape)]
        raise GenkitError(
            f"frame {count} of {str(path)!r} has {sizes[1]} pixels, but those before it have {sizes[0]}; "
            "a video has one size: cut it there, or scale it"
        )
    if count * picture.nbytes > FILM_BYTES:
        raise UsageError(f"{str(path)!r} contains more than {FILM_BYTES / 2**30:g} GiB of frames: cut it first")


def _decode_all(path: Path, frames: Iterator[Any], to_rgb: Any) -> tuple[NDArray[np.uint8], Exception | None]:
    """Frames as one array, and the error that ended them early, if any."""
    film, count = np.empty((0, 0, 0, 3), np.uint8), 0
    try:
        for frame in frames:
            picture = to_rgb(frame)
            if not count:
                film = np.empty((0, *picture.shape), np.uint8)
            _check_goes_on(path, count, film, picture)
            if count == len(film):
                # In place: stacking a list at the end would keep the frames twice.
                film.resize((count + CHUNK, *picture.shape), refcheck=False)
            film[count] = picture
            count += 1
    except GenkitError:
        raise
    except MemoryError as error:
        raise TooLittleMemory(f"not enough memory for the frames of {str(path)!r}") from error
    except ffmpeg_errors() as error:
        return film[:count], error
    film.resize((count, *film.shape[1:]), refcheck=False)
    return film, None
