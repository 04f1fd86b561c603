"""Attention to frames that are far away decays, in videos longer than those of the training.

Source: UltraViCo, arXiv 2511.20123, eq. 5 and 6: logits of frames more than half the training length apart are
multiplied by ``alpha``, those near a multiple of the period at which positions repeat by ``beta``, if they are
positive. Where paper and code differ there is a setting:

- the code subtracts the mean key first, which does not change attention but does change what the factors act on:
  ``centred``;
- the code hides from the first frame all frames beyond the training length, the paper speaks of a negative factor:
  ``first_frame``;
- the code counts distances in tokens, for one size of video each; here they are counted in frames, at any size.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Order, Rule
from genkit.attention.calls.frame_logits import FrameLogits


def decay(frames: int, native: int, alpha: float, beta: float, period: float | None, around: float) -> Tensor:
    """Return the factor of each pair of frames, float64 ``[frames, frames]``.

    Args:
        frames: latent frames of the video.
        native: latent frames of the training; pairs up to half of it apart keep 1.
        alpha: factor of pairs further apart.
        beta: factor of those at most ``around`` frames from a multiple of ``period``.
        period: latent frames after which the positions repeat; None: they do not.
        around: latent frames.
    """
    frame = torch.arange(frames, dtype=torch.float64)
    apart = (frame[:, None] - frame).abs()
    gain = torch.full_like(apart, alpha)
    if period is not None:
        turns = (apart / period).round().clamp_min(1)
        gain[(apart - turns * period).abs() <= around] = beta
    return gain.masked_fill(apart <= native / 2, 1)


@dataclass(frozen=True, kw_only=True)
class DecayRule(Rule):
    """Decay of positive logits with the distance of frames."""

    alpha: float
    beta: float
    period: float | None
    around: float
    centred: bool
    first_frame: bool
    native_frames: int
    """Latent frames up to which nothing is changed."""
    name: str = "ultravico"
    order: Order = "logits"
    kinds: frozenset[Kind] = frozenset({"self", "joint", "temporal"})

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` with decayed logits, for videos beyond the training length."""

        def decayed(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            frames = call.grid.frames
            if frames <= self.native_frames:
                call.run.note(
                    f"{self.name}: {frames} latent frames are no more than the {self.native_frames} of the training, "
                    "so it changes nothing"
                )
                return attend(q, k, v, call)
            if self.centred:
                k = k - k[:, :, call.grid.video].mean(2, keepdim=True)
            logits = call.run.memory.table((self.name, frames), lambda: self.logits(frames))
            return attend(q, k, v, replace(call, logits=logits))

        return decayed

    def logits(self, frames: int) -> FrameLogits:
        """Return the changes for a video of ``frames`` latent frames."""
        gain = decay(frames, self.native_frames, self.alpha, self.beta, self.period, self.around)
        bias = torch.zeros_like(gain)
        if self.first_frame:
            bias[0, self.native_frames :] = float("-inf")
        return FrameLogits(bias=bias, gain=gain, positive=True)
