"""Sparse VideoGen: each head attends along either space or time, classified in every call.

Source: "Sparse VideoGen", arXiv 2502.01776, section 3, and its published code. Differences, each for a reason:

- heads are classified with the masks that are executed (published: with masks of a fixed width of about two frames);
- the sampled queries come from all frames (published: from the first 10,000 tokens) and from a separate generator, so
  that the caller's random state does not change;
- the first frame is a sink of the spatial heads only: once tokens are ordered by place, the published "first ``s``
  keys" of a temporal head are not the first frame.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.permute import inverse, permute
from genkit.attention.planning.planner import MethodPlanner, Settings
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.shared import DENSITIES


class SvgSettings(Settings, Protocol):
    """Fields of ``genkit.SVG`` that decide what is read."""

    @property
    def density(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def first_frame(self) -> bool | None: ...


class SvgPlanner(MethodPlanner[SvgSettings]):
    """Band around the diagonal, with tokens ordered by frame for spatial heads and by place for temporal ones."""

    across_heads = False

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse calls that hide frames: tokens ordered by place mix them."""
        return "it reorders tokens by place and cannot hide frames" if here.call.visible is not None else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense."""
        return tuple({"density": density} for density in DENSITIES)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Classify the heads, reorder the tokens of the temporal ones, and attend."""
        orders, masks = here.per_run(lambda: self._kinds(here), "kinds")
        temporal = self._is_temporal(q, k, v, here)
        order = orders[temporal.long()]
        plan = BlockPlan(masks[temporal.long()], here.block(self.settings.block), q.shape[2], k.shape[2])
        out = here.attend(permute(q, order), permute(k, order), permute(v, order), plan)
        return permute(out, inverse(order)), here.density(plan)

    def _is_temporal(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Tensor:
        """True for heads with a smaller error under the temporal mask, bool ``[B, H]``."""
        orders, masks = here.per_run(lambda: self._kinds(here), "kinds")
        rows = here.per_run(lambda: self._rows(here), "rows")
        logits = q[:, :, rows].float() @ k.float().mT * here.scale
        if here.valid is not None:
            logits = logits.masked_fill(~here.valid[:, None, None], float("-inf"))
        true = logits.softmax(-1) @ v.float()
        errors = []
        for order, mask in zip(orders, masks, strict=True):
            block_of = inverse(order) // here.block(self.settings.block)
            seen = mask[block_of[rows]][:, block_of]
            masked = logits.masked_fill(~seen, float("-inf"))
            errors.append((masked.softmax(-1) @ v.float() - true).square().mean((-2, -1)))
        return errors[1] < errors[0]

    def _rows(self, here: PlannerCall) -> Tensor:
        """Random video tokens, from a separate generator."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randperm(here.grid.video_tokens, generator=generator)[: self.settings.rows]
        return (drawn + here.grid.video.start).to(here.device)

    def _kinds(self, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Token orders ``[2, N]`` and masks ``[2, blocks, blocks]`` of spatial and temporal heads."""
        grid, block = here.grid, here.block(self.settings.block)
        by_frame = torch.arange(grid.tokens)
        by_place = by_frame.clone()
        video = by_frame[grid.video].view(grid.frames, -1)
        by_place[grid.video] = video.T.flatten()
        band = band_of(grid, block, self.settings.density).to(here.device)
        kept = [
            here.always_kept(block, first_frame=first)
            for first in (here.reads_first_frame(self.settings.first_frame), False)
        ]
        return torch.stack([by_frame, by_place]).to(here.device), torch.stack([band | keep for keep in kept])


def band_of(grid: VideoGrid, block: int, density: float) -> Tensor:
    """Return the band of blocks around the diagonal with ``density`` of all token pairs, text included.

    ``n (1 - sqrt(1 - rho))`` tokens to either side, with ``rho`` the density minus the share of text rows and columns.
    """
    tokens = grid.tokens
    share = 1.0 if density == 1 else max(0.0, density - 2 * grid.other_tokens / tokens)
    reach = math.ceil(tokens * (1 - math.sqrt(1 - share)) / block - 1e-9)
    index = torch.arange(-(-tokens // block))
    return (index[:, None] - index).abs() <= reach
