"""Opening of video files: the one place where FFmpeg meets untrusted input.

FFmpeg guesses a format from the content unless given one, and some formats are lists of other files and addresses: a
text file named ``clip.mp4`` could open a port or read another file. So the format follows from the name, the content
comes from a file that is already open, and no protocol is allowed for anything else.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from genkit.errors import UsageError
from genkit.files.boxes import boxes_end, check_index
from genkit.files.gif import gif_ends

FORMATS = {
    ".mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    ".m4v": "mov,mp4,m4a,3gp,3g2,mj2",
    ".mov": "mov,mp4,m4a,3gp,3g2,mj2",
    ".mkv": "matroska,webm",
    ".webm": "matroska,webm",
    ".avi": "avi",
    ".gif": "gif",
    ".apng": "apng",
    ".ts": "mpegts",
}
"""FFmpeg's name of the format of each suffix; none of them refers to other files."""
SIDE_PIXELS = 16384
"""Max pixels of a frame's side."""
FRAME_PIXELS = 2**26
"""Max pixels of a frame: 8192 x 8192, twice 8K television."""
UNKNOWN = 2**32 - 1
"""Length stated by an AVI that was written into a pipe."""
STREAMS = 64
"""Max streams of a file; usual files have two or three."""
COMMENT_CHARACTERS = 2**24
"""Max length of the comment tag; a recipe has a few thousand."""


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file for reading; yield PyAV's container and its video stream.

    All files that FFmpeg reads for genkit are opened here. The format is that of the suffix, no other file or address
    is ever opened, and decoders refuse frames of more than :data:`FRAME_PIXELS`. Reading can still take as long as a
    hostile file wants: see :func:`genkit.files.apart.read_header_apart`.

    Raises:
        UsageError: there is no such file, its suffix is not that of a video, it contains no video, its frames are too
            large, or its index would fill the memory.
    """
    wanted = _format(path)
    with ExitStack() as stack:
        file = stack.enter_context(_open_file(path))
        if wanted == FORMATS[".mp4"]:
            check_index(path, file, path.stat().st_size)
            file.seek(0)
        try:
            container = stack.enter_context(_container(file, wanted))
        except ffmpeg_errors() as error:
            raise _unreadable(path) from error
        yield container, _stream(path, container)


def ffmpeg_errors() -> tuple[type[Exception], ...]:
    """Return every exception that reading a damaged file with PyAV raises."""
    import av

    return av.FFmpegError, OSError, ValueError, IndexError, MemoryError


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse frames that are too large to decode.

    Raises:
        UsageError: a side or the whole frame has too many pixels.
    """
    if height * width > FRAME_PIXELS or max(height, width) > SIDE_PIXELS:
        raise UsageError(
            f"{str(path)!r} has frames of {width}x{height} pixels; at most {FRAME_PIXELS:,} pixels and "
            f"{SIDE_PIXELS:,} on a side are read: scale it down first"
        )


def is_cut(path: Path) -> bool:
    """Return True if a file is shorter than it states.

    The end of its boxes (MP4), segment (Matroska) or chunk (AVI) is beyond the end of the file, or the trailer of a GIF
    is missing. Broadcast streams (``.ts``) do not state their length.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        match FORMATS[path.suffix.lower()]:
            case "matroska,webm":
                return _matroska_end(file) > size
            case "avi":
                length = int.from_bytes(file.read(8)[4:], "little")
                return length != UNKNOWN and 8 + length > size
            case "gif":
                return not gif_ends(file)
            case "mov,mp4,m4a,3gp,3g2,mj2":
                return boxes_end(file, size) > size
    return False


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            f"the name of {str(path)!r} is not that of a video that can be read: it must end in {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def _open_file(path: Path) -> BinaryIO:
    try:
        if not path.is_file():  # before opening: a named pipe would block
            raise UsageError(f"there is no video file {str(path)!r}")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{str(path)!r} cannot be read: {reason}") from error
    about = os.fstat(file.fileno())
    if stat.S_ISREG(about.st_mode) and about.st_size:
        return file
    file.close()
    raise UsageError(f"{str(path)!r} is empty: it contains no video")


def _container(file: BinaryIO, wanted: str) -> Any:
    import av

    options = {
        "protocol_whitelist": "none",  # not the name of a protocol: an empty list would allow all
        "format_whitelist": wanted,
        "enable_drefs": "0",
        "max_streams": str(STREAMS),
        "max_pixels": str(FRAME_PIXELS),
    }
    # FFmpeg's short name of the format: not every version finds one by the whole list of names.
    return av.open(file, format=wanted.split(",")[0], options=options, metadata_errors="replace")


def _stream(path: Path, container: Any) -> Any:
    stream = _video_stream(container)
    if stream is None:
        raise _explain_no_pictures(path, container)
    context = stream.codec_context
    check_size(path, context.height, context.width)
    # Unaligned, or FFmpeg keeps columns that should be cropped on the left, and the picture is too wide.
    context.options = {"max_pixels": str(FRAME_PIXELS), "flags": "+unaligned"}
    return stream


def _video_stream(container: Any) -> Any | None:
    """Video stream; a cover image is a stream too, of one picture without a rate."""
    streams = [s for s in container.streams.video if s.codec_context and s.codec_context.height * s.codec_context.width]
    if moving := [stream for stream in streams if stream.average_rate]:
        return moving[0]
    return streams[0] if streams and not container.streams.audio else None


def _explain_no_pictures(path: Path, container: Any) -> UsageError:
    """Error that explains the missing video stream."""
    if is_cut(path):
        return _unreadable(path)
    if any(stream.codec_context is None for stream in container.streams.video):
        return UsageError(f"{str(path)!r} contains a video that this FFmpeg cannot decode: convert it to H.264")
    if container.streams.audio:
        return UsageError(f"{str(path)!r} contains sound but no pictures: it is not a video")
    return UsageError(f"{str(path)!r} contains no pictures: it is damaged or not a video")


def _unreadable(path: Path) -> UsageError:
    return UsageError(f"{str(path)!r} cannot be read as a video: it is damaged, cut short or not a video{_guess(path)}")


def _guess(path: Path) -> str:
    """Hint from the first bytes of a file that FFmpeg refused."""
    with path.open("rb") as file:
        begin = file.read(12)
    found = next((suffix for suffix, is_it in MAGIC.items() if is_it(begin)), None)
    if found is None:
        return ""
    if FORMATS[found] != FORMATS[path.suffix.lower()]:
        return f"; its content looks like a {found} file: rename it"
    missing = found == ".mp4"
    return "; it starts like an MP4 but its index is missing, so it was cut: fetch or copy it again" * missing


MAGIC = {
    ".mp4": lambda begin: begin[4:8] == b"ftyp",
    ".mkv": lambda begin: begin[:4] == b"\x1aE\xdf\xa3",
    ".avi": lambda begin: begin[:4] == b"RIFF" and begin[8:] == b"AVI ",
    ".gif": lambda begin: begin[:4] == b"GIF8",
    ".apng": lambda begin: begin[:4] == b"\x89PNG",
}
"""Test of the first bytes, by format."""


def _matroska_end(file: BinaryIO) -> int:
    """End of the segment of a Matroska file; 0 if unspecified. Source: RFC 8794, section 4 to 6."""
    file.seek(4)
    length, unknown = _vint(file)
    if unknown:
        return 0
    file.seek(length, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length, unknown = _vint(file)
    return 0 if unknown else file.tell() + length


def _vint(file: BinaryIO) -> tuple[int, bool]:
    """EBML number, and True if it stands for an unknown size."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 8
    value = int.from_bytes(first + file.read(width - 1), "big") & (2 ** (7 * width) - 1)
    return value, value == 2 ** (7 * width) - 1
