"""Attention between frames is drawn towards those nearby: a share of each row's max logit is added to them.

Source: VSTAR, arXiv 2403.13501: ``logits + scale max(logits of the row) T`` with ``T[i, j] = exp(-(i - j)^2 / (2
sigma^2))``. As in the released code a row whose max is negative is pushed the other way, and layers in front of the
blocks (``transformer_in``) are left out. Different from it: layers are chosen by their resolution relative to the
finest, not by the widths that one size of video has.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Order, Rule
from genkit.attention.calls.frame_logits import FrameLogits


def toeplitz(frames: int, sigma: float) -> Tensor:
    """Return ``exp(-(i - j)^2 / (2 sigma^2))``, float64 ``[frames, frames]``; ``sigma`` in latent frames."""
    frame = torch.arange(frames, dtype=torch.float64)
    return torch.exp(-((frame[:, None] - frame) ** 2) / (2 * sigma**2))


@dataclass(frozen=True, kw_only=True)
class TemporalRegularizationRule(Rule):
    """Logits between frames with a Toeplitz matrix added."""

    sigma: float
    """Latent frames."""
    strength: float
    until: float
    """Share of the steps, from the first."""
    levels: int
    """Levels of resolution, from the finest."""
    name: str = "temporal-regularization"
    order: Order = "logits"
    kinds: frozenset[Kind] = frozenset({"self", "joint", "temporal"})

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` with regularized logits in the layers and steps of this rule."""

        def regularized(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            if call.step.is_past(self.until) or not self._is_in(call):
                return attend(q, k, v, call)
            frames = call.grid.frames
            logits = call.run.memory.table((self.name, frames), lambda: self.logits(frames))
            return attend(q, k, v, replace(call, logits=logits))

        return regularized

    def _is_in(self, call: Call) -> bool:
        # The first layer of a UNet is one of the finest.
        finest = call.run.memory.table((self.name, call.model), lambda: call.grid.rows)
        return call.grid.rows > finest / 2**self.levels and not call.layer.startswith("transformer_in")

    def logits(self, frames: int) -> FrameLogits:
        """Return the changes for ``frames`` latent frames."""
        matrix = toeplitz(frames, self.sigma)
        return FrameLogits(bias=torch.zeros_like(matrix), peak=self.strength * matrix)
