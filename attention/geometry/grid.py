"""The geometry of one attention call: which token is where, and when."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Fold = Literal["none", "space", "time"]


@dataclass(frozen=True, kw_only=True)
class VideoGrid:
    """Latent frames, rows and columns of the tokens that one attention call sees, and where text stands among them.

    Tokens are ordered frame by frame, row by row. Latent frame 0 stands for ``first_pixels`` pixel frames and every
    later one for ``stride`` of them.
    """

    frames: int
    """Latent frames (after temporal patching): the steps of time that attention can tell apart."""
    rows: int
    """Token rows of a frame."""
    cols: int
    """Token columns of a frame."""
    text_tokens: int = 0
    """Text tokens in the same sequence; 0 where text has its own attention."""
    text_first: bool = False
    """Whether the text tokens come before the video tokens."""
    fold: Fold = "none"
    """``"space"``: rows and columns lie in the batch (temporal attention of a UNet); ``"time"``: the frames do."""
    stride: int = 4
    """Pixel frames of each latent frame but the first."""
    first_pixels: int = 1
    """Pixel frames of the first latent frame."""
    fps: float = 16.0
    """Pixel frames a second."""
    native_frames: int = 21
    """Latent frames of the clips that the model was trained on."""
    start: int = 0
    """Latent frame of the whole video at which this grid begins; more than 0 inside a window."""

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
        """Where the video tokens stand."""
        begin = self.text_tokens if self.text_first else 0
        return slice(begin, begin + self.video_tokens)

    @property
    def text(self) -> slice:
        """Where the text tokens stand; empty without text."""
        begin = 0 if self.text_first else self.video_tokens
        return slice(begin, begin + self.text_tokens)

    @property
    def pixel_frames(self) -> int:
        """Pixel frames that the latent frames decode to; only a grid that begins at 0 holds the short first one."""
        return (self.stride if self.start else self.first_pixels) + (self.frames - 1) * self.stride

    def seconds(self, frame: int) -> tuple[float, float]:
        """When latent frame ``frame`` of the whole video begins and ends, in seconds."""
        begin = 0 if frame == 0 else self.first_pixels + (frame - 1) * self.stride
        return begin / self.fps, (self.first_pixels + frame * self.stride) / self.fps

    def frame_of_token(self, device: torch.device | str = "cpu") -> Tensor:
        """Latent frame of every token ``[tokens]``, int64, counted inside this grid; -1 for text.

        With ``fold="time"`` a sequence holds one frame, so that all of its tokens are 0.
        """
        frames = torch.arange(self.video_tokens, device=device) // self.tokens_per_frame
        text = torch.full((self.text_tokens,), -1, device=device)
        return torch.cat([text, frames] if self.text_first else [frames, text])

    def crop(self, begin: int, end: int) -> "VideoGrid":
        """The grid of frames ``begin`` to ``end`` (exclusive) with the same text."""
        return replace(self, frames=end - begin, start=self.start + begin)


def latent_frames(pixel_frames: int, stride: int) -> int:
    """Return the latent frames of a video: one for its first pixel frame and one for every further ``stride``."""
    return (pixel_frames - 1) // stride + 1
