"""Frame anchors: every frame reads its neighbours, the first frames, and key frames that move from step to step.

Source: "LVSA", arXiv 2605.31057, and its published code: a bounded number of frames is read whatever the length, and
the grid of key frames moves on by one in every step, so that no frame is left out for long.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genkit.attention.grid import VideoGrid
from genkit.attention.plan import BlockPlan
from genkit.attention.planners.here import Here
from genkit.attention.planners.kept import default_block

EVERY_FRAME = 1 << 20
"""More neighbours than any video has frames."""


@dataclass(frozen=True, kw_only=True)
class FrameAnchorsPlanner:
    """Whole frames of keys, chosen by time alone."""

    near: int = 3
    """Latent frames to either side that a frame reads; at the ends the window is moved inside, not cut."""
    first: int = 1
    """Latent frames at the beginning that all frames read."""
    key_frames: int | None = None
    """Latent frames, spread evenly over the video, that all frames read; None makes up the training length."""
    rotate: bool = True
    """Whether the key frames move on by one latent frame in every step."""
    block: int | None = None
    """Tokens of a block; None is 128, or less for short videos."""
    name: str = "frame-anchors"

    def refusal(self, here: Here) -> str | None:
        """Nothing can be left out of a video that is no longer than what the model was trained on."""
        frames, native = here.grid.frames, here.grid.native_frames
        return f"{frames} latent frames are no more than the {native} of the training" if frames <= native else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Settings from sparse to dense."""
        return tuple({"near": near} for near in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, EVERY_FRAME))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Attention by the mask of this step."""
        turn = here.call.step.index if self.rotate else 0
        plan, density = here.shared(lambda: self._planned(here, turn), "plan", turn, here.call.visible is None)
        return here.attend(q, k, v, plan), density if here.call.visible is None else here.density(plan)

    def _planned(self, here: Here, turn: int) -> tuple[BlockPlan, Tensor]:
        block = self.block or default_block(here.grid)
        keep = frame_blocks(here.grid, self.frames_read(here.grid, turn), block).to(here.device)
        keep |= here.kept_always(block, first_frame=False)
        plan = BlockPlan(keep[None, None], block, here.grid.tokens, here.grid.tokens)
        return plan, here.density(plan)

    def frames_read(self, grid: VideoGrid, turn: int) -> Tensor:
        """Which key frames (columns) a query frame reads, bool ``[frames, frames]``."""
        index, width = torch.arange(grid.frames), 2 * self.near + 1
        keys = max(1, grid.native_frames - self.first - width) if self.key_frames is None else self.key_frames
        for_all = index < self.first
        if keys:
            for_all = for_all | ((index - turn) % -(-grid.frames // keys) == 0)
        place = (~for_all).cumsum(0) - (~for_all).long()  # rank among the frames that are not read by all
        begin = (place - self.near).clamp(0, max(0, int((~for_all).sum()) - width))
        near = (place >= begin[:, None]) & (place < begin[:, None] + width) & ~for_all
        return near | for_all | torch.eye(grid.frames, dtype=torch.bool)


def frame_blocks(grid: VideoGrid, read: Tensor, block: int) -> Tensor:
    """Blocks that hold a pair of tokens of frames that read one another, bool ``[blocks, blocks]``; text in none."""
    tokens = torch.arange(grid.video.start, grid.video.stop)
    frame = (tokens - grid.video.start) // grid.tokens_per_frame
    holds = torch.zeros(-(-grid.tokens // block), grid.frames)
    holds[tokens // block, frame] = 1
    return holds @ read.float() @ holds.T > 0
