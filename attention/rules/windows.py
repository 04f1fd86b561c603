"""Attention in overlapping windows of frames, fused with weights that decrease towards each window's ends.

Source: FreeNoise, arXiv 2310.15169, eq. 8 and 9. Queries, keys and values are projected once and each attention is
fused, as in the released code for VideoCrafter. Different from the source:

- in the released code the last ``(frames - window) % stride`` frames are not in any window; here a last window always
  ends at the last frame;
- diffusers' own FreeNoise for AnimateDiff fuses the hidden states after both attentions of a block, so that its second
  attention reads the output of the first in the same window only; here it reads the fused states. Positions restart in
  each window in both. The two are equal if a block has one attention; on the small random model of the tests, which has
  two, they differ by 1.6 % of the range.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Order, Rule
from genkit.attention.geometry.windows import window_starts, window_weights


@dataclass(frozen=True, kw_only=True)
class WindowRule(Rule):
    """Self-attention of each window of ``window`` latent frames; windows start every ``stride`` frames."""

    window: int
    stride: int
    name: str = "freenoise"
    order: Order = "branches"
    kinds: frozenset[Kind] = frozenset({"self", "joint", "temporal"})

    @property
    def restarts(self) -> int:
        """Length in latent frames of the windows in which positions restart at 0; see ``model.positions``."""
        return self.window

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` fused from one call per window; other queries read all frames in a separate call."""

        def windowed(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            frames = call.grid.frames - call.grid.lead
            if frames <= self.window:
                call.run.note(
                    f"{self.name}: {frames} latent frames fit into one window of {self.window}, so it changes nothing"
                )
                return attend(q, k, v, call)
            return self._fused(q, k, v, call, attend)

        return windowed

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, call: Call, attend: Attend) -> Tensor:
        grid, lead = call.grid, call.grid.lead
        per_frame = grid.tokens_per_frame
        total = torch.zeros_like(q, dtype=torch.promote_types(q.dtype, torch.float32))
        count = total.new_zeros(q.shape[2], 1)
        weight = torch.cat([torch.ones(lead), window_weights(self.window)]).repeat_interleave(per_frame)
        weight = weight[:, None].to(total)
        for begin in window_starts(grid.frames - lead, self.window, self.stride):
            index, inner = cropped(call, lead + begin, lead + begin + self.window, q.device)
            near_q, near_k, near_v = (
                x[:, :, index] if added is None else x[:, :, index] + added
                for x, added in zip((q, k, v), call.positions or (None, None, None), strict=True)
            )
            out = attend(near_q, near_k, near_v, inner)
            rows = index[inner.grid.video]
            total[:, :, rows] += weight * out[:, :, inner.grid.video]
            count[rows] += weight
        fused = (total / count.clamp_min(1)).to(q.dtype)
        if grid.other_tokens > grid.keys_only:
            others = grid.index_of_others(q.device)
            fused[:, :, others] = attend(q, k, v, _others_only(call))[:, :, others]
        return fused


def _others_only(call: Call) -> Call:
    """A call only for the queries other than video: they read everything, and frames are hidden from video queries."""
    frames = call.grid.frames
    # The same tensor in every call, so that sparse rules can recognise it.
    nothing = call.run.memory.table(("windows", frames), lambda: torch.zeros(frames, frames, dtype=torch.bool))
    return replace(call, visible=nothing)


def cropped(call: Call, begin: int, end: int, device: torch.device | str = "cpu") -> tuple[Tensor, Call]:
    """Return the token indices of the frames ``begin`` to ``end``, of images in front of the video and of all other
    tokens, and the call for them."""
    grid = call.grid
    first, lead = grid.video.start, min(grid.lead, begin)
    frames = [*range(lead), *range(begin, end)]
    video = (torch.tensor(frames)[:, None] * grid.tokens_per_frame + torch.arange(grid.tokens_per_frame)).flatten()
    video = (video + first).to(device)
    others = grid.index_of_others(device)
    index = torch.cat([others[: grid.before], video, others[grid.before :]])
    mask = call.mask
    if mask is not None:
        for axis in (-1, -2):
            if mask.ndim >= -axis and mask.shape[axis] == grid.tokens:
                mask = mask.index_select(axis, index.to(mask.device))
    inner = replace(call.crop(begin, end), mask=mask, positions=None)
    visible = None if call.visible is None else call.visible[frames][:, frames]
    return index, replace(inner, grid=replace(inner.grid, frames=len(frames), lead=lead), visible=visible)
