"""Geometry of one attention call: the place and time of each token."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Fold = Literal["none", "space", "time"]


@dataclass(frozen=True, kw_only=True)
class VideoGrid:
    """Latent frames, rows and columns of the tokens in one attention call, and the other tokens around them.

    Tokens are ordered frame by frame, row by row. Latent frame 0 decodes to ``first_pixels`` pixel frames, each later
    one to ``stride``.
    """

    frames: int
    """Latent frames, after temporal patching."""
    rows: int
    """Token rows of a frame."""
    cols: int
    """Token columns of a frame."""
    before: int = 0
    """Other tokens in front of the video in the same sequence, such as text or earlier frames; 0 without."""
    keys_only: int = 0
    """The first of ``before`` that are keys but not queries, such as text in a stream of its own; 0 without."""
    after: int = 0
    """Other tokens behind the video in the same sequence, such as text or images; 0 without."""
    fold: Fold = "none"
    """Axes folded into the batch: ``"space"``, rows and columns (temporal attention of a UNet), or ``"time"``."""
    stride: int = 4
    """Pixel frames of each latent frame except the first."""
    first_pixels: int = 1
    """Pixel frames of the first latent frame."""
    fps: float = 16.0
    """Pixel frames per second."""
    native_frames: int = 21
    """Latent frames of the clips that the model was trained on."""
    lead: int = 0
    """Frames at the beginning of the whole grid that are images outside the video's time, such as references."""
    start: int = 0
    """First latent frame of this grid in the whole video; more than 0 in later windows."""

    @property
    def tokens_per_frame(self) -> int:
        """Video tokens of one frame in one sequence."""
        return 1 if self.fold == "space" else self.rows * self.cols

    @property
    def video_tokens(self) -> int:
        """Video tokens of one sequence."""
        return self.tokens_per_frame * (1 if self.fold == "time" else self.frames)

    @property
    def other_tokens(self) -> int:
        """Tokens of one sequence that are not the video's: text, images, earlier frames."""
        return self.before + self.after

    @property
    def tokens(self) -> int:
        """All tokens of one sequence."""
        return self.video_tokens + self.other_tokens

    @property
    def video(self) -> slice:
        """Positions of the video tokens."""
        return slice(self.before, self.before + self.video_tokens)

    @property
    def others(self) -> tuple[slice, ...]:
        """Positions of the other tokens: one slice for each side of the video that has some."""
        sides = (slice(0, self.before), slice(self.video.stop, self.tokens))
        return tuple(side for side in sides if side.stop > side.start)

    def index_of_others(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the positions of the other tokens, int64 ``[other_tokens]``."""
        places = torch.arange(self.tokens, device=device)
        return torch.cat([places[: self.before], places[self.video.stop :]])

    @property
    def pixel_frames(self) -> int:
        """Pixel frames that the latent frames decode to; only a grid with start 0 contains the short first one."""
        if self.start:
            return self.frames * self.stride
        return self.first_pixels + (self.frames - self.lead - 1) * self.stride

    def seconds(self, frame: int) -> tuple[float, float]:
        """Return begin and end of latent frame ``frame`` of the whole grid, in seconds; images in front are at 0."""
        frame -= self.lead
        if frame < 0:
            return 0.0, 0.0
        begin = 0 if frame == 0 else self.first_pixels + (frame - 1) * self.stride
        return begin / self.fps, (self.first_pixels + frame * self.stride) / self.fps

    def frame_of_token(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the latent frame of each token inside this grid, int64 ``[tokens]``; -1 for other tokens.

        With ``fold="time"`` a sequence is one frame, so all video tokens are 0.
        """
        frames = torch.full((self.tokens,), -1, device=device)
        frames[self.video] = torch.arange(self.video_tokens, device=device) // self.tokens_per_frame
        return frames

    def crop(self, begin: int, end: int) -> "VideoGrid":
        """Return the grid of the frames ``begin`` to ``end`` (exclusive), with the same other tokens."""
        return replace(self, frames=end - begin, start=self.start + begin)


def latent_frames(pixel_frames: int, stride: int) -> int:
    """Return the latent frames of a video: one for its first pixel frame and one for each further ``stride``."""
    return (pixel_frames - 1) // stride + 1
