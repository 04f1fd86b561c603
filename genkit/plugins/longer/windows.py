"""Windows: the model denoises overlapping windows of frames, and their predictions are fused in every step."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genkit.attention.calls.call import Step
from genkit.attention.geometry.windows import Window
from genkit.errors import UsageError
from genkit.plugins.contract import Denoise, Parts, Target
from genkit.schedulers.windows import window_shares, windows_over


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Longer videos: each step denoises overlapping windows of frames and fuses their predictions.

    The model never sees more frames than one window, and its positions restart in each. A video of one window or
    shorter is not changed. Source: Gen-L-Video, arXiv 2305.18264, section 4. Different from the source: predictions are
    fused (its code fuses latents after the solver's step, which is the same for a solver without memory), weights fall
    off towards the ends of each window (its code has equal weights), and the last frames are always in a window (its
    code drops frames that do not fit the stride).
    """

    name: ClassVar[str] = "windows"
    title: ClassVar[str] = "Co-denoised windows"
    paper: ClassVar[str] = "arXiv 2305.18264"
    seams: ClassVar[tuple[str, ...]] = ("forward",)
    claims: ClassVar[frozenset[str]] = frozenset({"windows", "attention windows"})

    window: int | None = None
    """Latent frames of a window; None is the model's training length."""
    stride: int | None = None
    """Latent frames from one window to the next; None is half a window."""
    beyond_training: bool = False
    """Whether a window may exceed the training length, for example with a plug-in for positions."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 2:
            raise UsageError(f"windows: window={self.window} must be at least 2 latent frames")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"windows: stride={self.stride} must be at least 1 latent frame")

    def parts(self, target: Target) -> Parts:
        """Return the forward rule for a target."""
        window = self.window or target.trained_on(self.name)
        stride = self.stride or max(1, window // 2)
        if stride > window:
            raise UsageError(
                f"windows: stride={stride} is more than window={window}, so some frames would be in no window; give "
                f"at most {window}"
            )
        if window > (target.native_frames or window) and not self.beyond_training:
            raise UsageError(
                f"windows: window={window} is more than the {target.native_frames} latent frames that {target.title} "
                f"was trained on; give at most {target.native_frames}, or beyond_training=true"
            )
        if target.longest is not None and window > target.longest:
            raise UsageError(
                f"windows: window={window} is more than the {target.longest} latent frames at which the positions of "
                f"{target.title} end; give at most {target.longest}"
            )
        return Parts(forward=WindowedDenoising(window=window, stride=stride))


@dataclass(frozen=True, kw_only=True)
class WindowedDenoising:
    """Forward rule that fuses the predictions of overlapping windows."""

    window: int
    """Latent frames of a window."""
    stride: int
    """Latent frames from one window to the next."""
    name: str = "windows"

    @property
    def max_frames(self) -> int:
        """Max latent frames of one forward."""
        return self.window

    def note(self, frames: int) -> str | None:
        """Return how many windows a video of ``frames`` latent frames has."""
        if frames <= self.window:
            return f"{self.name}: {frames} latent frames fit into one window of {self.window}, so it changes nothing"
        count = len(windows_over(frames, self.window, self.stride))
        return f"{self.name}: each call of the model is {count} calls, on windows of {self.window} latent frames"

    def wrap(self, denoise: Denoise) -> Denoise:
        """Return a denoiser that calls ``denoise`` once for each window, directly if there is only one."""

        def windowed(latents: Tensor, step: Step, window: Window) -> Tensor:
            parts = windows_over(latents.shape[1], self.window, self.stride)
            if len(parts) == 1:
                return denoise(latents, step, window)
            fused = Fused(latents.shape[1])
            for part, share in zip(parts, window_shares(parts), strict=True):
                there = Window(window.begin + part.begin, window.begin + part.end, window.frames)
                fused.add(denoise(latents[:, part.begin : part.end], step, there), part, share)
            return fused.total

        return windowed


class Fused:
    """Weighted sum of the predictions of windows, in float32 or higher precision."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._sum: Tensor | None = None

    def add(self, prediction: Tensor, window: Window, share: Tensor) -> None:
        """Add a prediction ``[B, window, ...]``, weighted by the window's share of each frame, ``[frames]``."""
        weights = share[window.begin : window.end].view(-1, *[1] * (prediction.ndim - 2))
        precise = torch.promote_types(prediction.dtype, torch.float32)
        if self._sum is None:
            self.dtype, shape = prediction.dtype, (len(prediction), self.frames, *prediction.shape[2:])
            self._sum = prediction.new_zeros(shape, dtype=precise)
        self._sum[:, window.begin : window.end] += weights.to(prediction.device, precise) * prediction

    @property
    def total(self) -> Tensor:
        """The fused prediction ``[B, frames, ...]``, in the dtype of its parts."""
        assert self._sum is not None
        return self._sum.to(self.dtype)
