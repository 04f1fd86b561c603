"""Changes of the logits of each pair of latent frames."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.operators.frame_table import FrameTable


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameLogits:
    """Numbers for each pair of latent frames of a call, as in ``FrameTable``; other tokens are read as they are."""

    bias: Tensor
    """float ``[frames, frames]``; -inf: never read."""
    gain: Tensor | None = None
    """float ``[frames, frames]``; None is 1."""
    positive: bool = False
    """True if ``gain`` applies to positive logits only."""
    peak: Tensor | None = None
    """float ``[frames, frames]``, share of the row's max logit that is added; None is 0."""

    def crop(self, begin: int, end: int) -> "FrameLogits":
        """Return the numbers of the frames ``begin`` to ``end`` (exclusive)."""
        bias, gain, peak = (None if x is None else x[begin:end, begin:end] for x in (self.bias, self.gain, self.peak))
        assert bias is not None
        return FrameLogits(bias=bias, gain=gain, positive=self.positive, peak=peak)

    def table(self, grid: VideoGrid, visible: Tensor | None, device: torch.device) -> FrameTable:
        """Return the table of the tokens of a grid; all other tokens are one more group.

        Args:
            grid: of the call.
            visible: bool ``[frames, frames]``, False hides frames from one another; None hides none.
            device: of the tensors.
        """
        bias = self.bias if visible is None else self.bias.masked_fill(~visible.to(self.bias.device), float("-inf"))
        frames = grid.frame_of_token()
        group = torch.where(frames < 0, grid.frames, frames).to(device)
        return FrameTable(
            rows=group,
            columns=group,
            bias=_with_others(bias, 0).to(device),
            gain=None if self.gain is None else _with_others(self.gain, 1).to(device),
            positive=self.positive,
            peak=None if self.peak is None else _with_others(self.peak, 0).to(device),
        )


def _with_others(numbers: Tensor, value: float) -> Tensor:
    """Return a table with one more row and column of ``value``."""
    return torch.nn.functional.pad(numbers, (0, 1, 0, 1), value=value)
