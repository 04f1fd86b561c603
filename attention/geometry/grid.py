"""Geometry of one attention call: the place and time of each token."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Fold = Literal["none", "space", "time"]


@dataclass(frozen=True, kw_only=True)
class VideoGrid:
    """Latent frames, rows and columns of the tokens in one attention call, and the position of its text tokens.

    Tokens are ordered frame by frame, row by row. Latent frame 0 decodes to ``first_pixels`` pixel frames, each later
    one to ``stride``.
    """

    frames: int
    """Latent frames, after temporal patching."""
    rows: int
    """Token rows of a frame."""
    cols: int
    """Token columns of a frame."""
    text_tokens: int = 0
    """Text tokens in the same sequence; 0 if text has its own attention."""
    text_first: bool = False
    """True if the text tokens precede the video tokens."""
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
    def tokens(self) -> int:
        """All tokens of one sequence."""
        return self.video_tokens + self.text_tokens

    @property
    def video(self) -> slice:
        """Slice of the video tokens."""
        begin = self.text_tokens if self.text_first else 0
        return slice(begin, begin + self.video_tokens)

    @property
    def text(self) -> slice:
        """Slice of the text tokens; empty without text."""
        begin = 0 if self.text_first else self.video_tokens
        return slice(begin, begin + self.text_tokens)

    @property
    def pixel_frames(self) -> int:
        """Pixel frames that the latent frames decode to; only a grid with start 0 contains the short first one."""
        return (self.stride if self.start else self.first_pixels) + (self.frames - 1) * self.stride

    def seconds(self, frame: int) -> tuple[float, float]:
        """Return begin and end of latent frame ``frame`` of the whole video, in seconds."""
        begin = 0 if frame == 0 else self.first_pixels + (frame - 1) * self.stride
        return begin / self.fps, (self.first_pixels + frame * self.stride) / self.fps

    def frame_of_token(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the latent frame of each token inside this grid, int64 ``[tokens]``; -1 for text.

        With ``fold="time"`` a sequence is one frame, so all video tokens are 0.
        """
        frames = torch.arange(self.video_tokens, device=device) // self.tokens_per_frame
        text = torch.full((self.text_tokens,), -1, device=device)
        return torch.cat([text, frames] if self.text_first else [frames, text])

    def crop(self, begin: int, end: int) -> "VideoGrid":
        """Return the grid of the frames ``begin`` to ``end`` (exclusive), with the same text."""
        return replace(self, frames=end - begin, start=self.start + begin)


def latent_frames(pixel_frames: int, stride: int) -> int:
    """Return the latent frames of a video: one for its first pixel frame and one for each further ``stride``."""
    return (pixel_frames - 1) // stride + 1
