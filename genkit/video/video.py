"""A generated video: its frames, its request, its receipt, and its storage in a file."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genkit.checks.values import check_rate
from genkit.errors import GenkitError, UsageError
from genkit.files.decode import read_film, read_header
from genkit.files.encode import encode, enlargement, file_frame
from genkit.files.frames import as_frames, to_uint8
from genkit.files.whole import PlaceError, check_writable, parts_in, sidecar_path
from genkit.record.receipt import Receipt
from genkit.video.ours import MARK
from genkit.video.raw import save_raw
from genkit.video.recipe import Recipe, is_recipe, recipe_of
from genkit.video.rescue import rescue
from genkit.video.targets import Target, settle

__all__ = ["Video", "check_writable", "read", "read_request"]


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of one video, with their history.

    ``frames`` may be given in any form that :func:`genkit.files.frames.as_frames` takes: NumPy, torch or PIL, colour
    last or second, uint8 or float in [0, 1].

    Raises:
        UsageError: the frames are not one RGB video, or ``fps`` is not a number in ``MIN_RATE`` to ``MAX_RATE``.
    """

    frames: NDArray[Any] = field(repr=False)
    """``[T, H, W, 3]``, uint8 or float32 in [0, 1], as generated: measurements use these and never the file."""
    fps: float
    """Frames per second."""
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    """The request, in JSON values."""
    receipt: Receipt | None = field(default=None, repr=False)
    """Record of the run; None if the video was not generated."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", check_rate(self.fps))
        object.__setattr__(self, "frames", as_frames(self.frames))

    def uint8(self) -> NDArray[np.uint8]:
        """Return the frames rounded to 8 bits, ``[T, H, W, 3]``."""
        return to_uint8(self.frames)

    def save(
        self,
        path: str | os.PathLike[str] | Target,
        *,
        crf: int = 16,
        enlarge: int | None = None,
        metadata: bool = True,
        sheet: bool = False,
        rescue: bool = True,
    ) -> Path:
        """Write an H.264 file with BT.709 colours, as a whole or not at all.

        An odd side is padded by repeating its last row or column, and the receipt in the file says so.

        Args:
            path: ends in ``.mp4``; missing folders are created, an existing file is replaced. An existing
                ``<path>.json`` or ``<path>.png`` is replaced only if genkit wrote it. A
                :class:`genkit.video.targets.Target` specifies more exactly what may be replaced.
            crf: quality, 1 (best, largest) to 51.
            enlarge: repeat every pixel this many times in each direction; None takes the smallest factor that gives the
                shorter side 256 pixels or more.
            metadata: store request and receipt as JSON in the comment tag and beside the file, as ``<path>.json``;
                False stores only that genkit made the file, and removes such a JSON left by an earlier save to the same
                path.
            sheet: also write a contact sheet to ``<path>.png``.
            rescue: if the file cannot be written, save the video in the user's cache or in a temporary folder, and
                report where; the folder that GENKIT_RESCUE names is tried first.

        Returns:
            The path written.

        Raises:
            UsageError: an argument is wrong, or ``path`` cannot be written.
            GenkitError: the encoder failed or the disk is full.
        """
        target = path if isinstance(path, Target) else Target(Path(path), True)
        try:
            return self._save(target, crf, enlarge, metadata, sheet)
        except Exception as error:
            mistake = isinstance(error, UsageError) and not isinstance(error, PlaceError)
            if not rescue or (mistake and self.receipt is None):  # the caller still has frames of their own
                raise
            _append(error, rescue_video(self, target.path.stem[:100] or "video", metadata))
            raise

    def _save(self, target: Target, crf: int, enlarge: int | None, metadata: bool, sheet: bool) -> Path:
        path = check_writable(target.path)
        if isinstance(crf, bool) or not isinstance(crf, int) or not 1 <= crf <= 51:
            raise UsageError(f"crf={crf!r} must be a whole number from 1 (best) to 51")
        _, height, width, _ = self.frames.shape
        factor = enlargement(height, width, enlarge)
        recipe = self._recipe(crf, factor)
        try:
            return self._write(target, recipe, metadata, sheet)
        except OSError as error:
            raise GenkitError(f"{str(path)!r} could not be written: {error.strerror or error}") from error

    def _write(self, target: Target, recipe: Recipe, metadata: bool, sheet: bool) -> Path:
        folder, about = target.path.parent, recipe.file
        tags = {"title": recipe.title(), "comment": recipe.to_json()} if metadata else MARK
        with parts_in(folder, folder, folder) as (film, notes, picture):
            size = about["height"], about["width"]
            encode(film, self._file_frames(about["enlarge"]), size=size, fps=self.fps, crf=about["crf"], tags=tags)
            if metadata:
                notes.write_text(recipe.to_json(indent=2) + "\n", "utf-8")
            if sheet:
                from genkit.video.sheet import contact_sheet, write_png

                caption = recipe.title() if metadata else ""
                write_png(contact_sheet([(caption, self.frames, self.fps)]), picture)
            path = settle(target, film, notes, picture)
        if not metadata and is_recipe(beside := sidecar_path(path)):
            beside.unlink()
        return path

    def _file_frames(self, factor: int) -> Iterator[NDArray[np.uint8]]:
        return (file_frame(to_uint8(frame), factor) for frame in self.frames)

    def _recipe(self, crf: int, factor: int) -> Recipe:
        frames, height, width, _ = self.frames.shape
        rows, columns = height * factor % 2, width * factor % 2
        receipt = self.receipt
        if receipt and (rows or columns):
            receipt = receipt.with_note(
                f"the file repeats the last {' and '.join(['row'] * rows + ['column'] * columns)}, "
                f"because H.264 needs even sizes and the video has {height * factor}x{width * factor}"
            )
        about = {
            "frames": frames,
            "height": height * factor + rows,
            "width": width * factor + columns,
            "fps": self.fps,
            "crf": crf,
            "enlarge": factor,
            "repeated_rows": rows,
            "repeated_columns": columns,
        }
        return Recipe(request=self.request, receipt=receipt, file=about)


def rescue_video(video: Video, name: str, metadata: bool = True) -> str:
    """Save a video that cannot be written to its place, and return a sentence that says where.

    It is written as H.264, or as raw frames (``.npz``) if no encoder works.
    """

    def as_film(folder: Path) -> Path:
        return video.save(Target(folder / f"{name}.mp4", False), metadata=metadata, rescue=False)

    def as_frames(folder: Path) -> Path:
        bare = video if metadata else replace(video, request={}, receipt=None)
        return save_raw(bare, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) / f"{name}.npz")

    return rescue("the finished video", as_film, as_frames)


def _append(error: Exception, where: str) -> None:
    """Append the place of the rescued video to an error's message."""
    error.args = (f"{error}; {where}",)


def read(path: str | os.PathLike[str]) -> Video:
    """Read a video that :meth:`Video.save` wrote, with its request and receipt.

    The frames are those of the file: uint8, after the loss of the codec, and enlarged if the file is.

    Raises:
        UsageError: no such file, not a video, or neither in it nor beside it a sign that genkit made it.
        GenkitError: the file ends early or cannot be decoded.
    """
    recipe = recipe_of(Path(path), read_header(Path(path)))
    film = read_film(Path(path))
    return Video(film.frames, film.fps, recipe.request, recipe.receipt)


def read_request(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the request that made a video, without decoding it; raises as :func:`read` for errors in the header."""
    return recipe_of(Path(path), read_header(Path(path))).request
