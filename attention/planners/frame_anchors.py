"""Frame anchors: every frame reads its neighbours, the first frames, and key frames that shift from step to step.

Source: "LVSA", arXiv 2605.31057, and its published code: the number of frames read is bounded at any length, and the
grid of key frames shifts by one in every step, so that every frame is read regularly.

For ``T`` frames of a model trained on ``R`` the anchors are the first ``first`` frames and the frames ``(turn + i k) %
T`` for ``i < ceil(T / k)``, whose number does not depend on the turn. The interval ``k`` is the largest at which
anchors and window still add up to ``R`` frames, but at least ``ceil((T - m) / (R - m))`` with ``m = 2 near + first``,
so that videos just above ``R`` stay sparse. A frame reads the anchors and the ``2 near + 1`` other frames around it:
with the defaults 21 to 24 frames of 41, 61, 83 or 126 for a model trained on 21.

Different from the source: a frame always reads itself (there, not with ``near=0``), videos up to the training length
are not changed at all, and ``key_frames`` is the number of key frames; in the published code it is their interval.
"""

from math import ceil
from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.planner import MethodPlanner, Settings
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.shared import default_block

EVERY_FRAME = 1 << 20
"""More neighbours than any video has frames."""


class FrameAnchorsSettings(Settings, Protocol):
    """Fields of ``genkit.FrameAnchors`` that decide what is read."""

    @property
    def near(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def key_frames(self) -> int | None: ...
    @property
    def rotate(self) -> bool: ...


class FrameAnchorsPlanner(MethodPlanner[FrameAnchorsSettings]):
    """Whole frames of keys, selected by time only."""

    across_heads = False

    def refusal(self, here: PlannerCall) -> str | None:
        """Refuse videos up to the training length, of which nothing can be left out."""
        frames, native = here.grid.frames, here.grid.native_frames
        return f"{frames} latent frames are no more than the {native} of the training" if frames <= native else None

    def levels(self, recall: float | None = None) -> tuple[dict[str, Any], ...]:
        """Return settings from sparse to dense; the key frames grow with the window."""
        return tuple({"near": n, "key_frames": n} for n in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, EVERY_FRAME))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> tuple[Tensor, Tensor]:
        """Attend by the mask of this step."""
        turn = here.call.step.index if self.settings.rotate else 0
        plan, density = here.per_run(lambda: self._planned(here, turn), "plan", turn, here.call.visible is None)
        return here.attend(q, k, v, plan), density if here.call.visible is None else here.density(plan)

    def _planned(self, here: PlannerCall, turn: int) -> tuple[BlockPlan, Tensor]:
        block = self.settings.block or default_block(here.grid)
        keep = frame_blocks(here.grid, self.frames_read(here.grid, turn), block).to(here.device)
        keep |= here.always_kept(block, first_frame=False)
        plan = BlockPlan(keep[None, None], block, here.grid.tokens, here.grid.tokens)
        return plan, here.density(plan)

    def frames_read(self, grid: VideoGrid, turn: int) -> Tensor:
        """Return the key frames (columns) that each query frame reads, bool ``[frames, frames]``."""
        frames, width = grid.frames, 2 * self.settings.near + 1
        anchors = torch.arange(frames) < self.settings.first
        if interval := self.interval(grid):
            anchors[(turn % interval + torch.arange(0, frames, interval)) % frames] = True
        wanted = 0 if self.settings.near == 0 else min(width, frames - int(anchors.sum()))
        read = anchors.repeat(frames, 1) | torch.eye(frames, dtype=torch.bool)
        for frame in range(frames):
            low, high = window_around(frame, self.settings.near, wanted, anchors)
            read[frame, low:high] = True
        return read

    def interval(self, grid: VideoGrid) -> int:
        """Return the latent frames from one key frame to the next; 0: there are no key frames."""
        if self.settings.key_frames is not None:
            return ceil(grid.frames / self.settings.key_frames) if self.settings.key_frames else 0
        return key_frame_interval(grid.frames, grid.native_frames, self.settings.near, self.settings.first)


def key_frame_interval(frames: int, native: int, near: int, first: int) -> int:
    """Return the largest interval of key frames at which a frame reads ``native`` frames; see the module."""
    wanted = max(first, native - 2 * near - 1)
    grids = ((interval, len({*range(first), *range(0, frames, interval)})) for interval in range(frames, 0, -1))
    reaching = next((interval for interval, anchors in grids if anchors >= wanted), 1)
    fixed = 2 * near + first
    return max(reaching, ceil(max(frames - fixed, native - fixed) / max(1, native - fixed)))


def window_around(frame: int, near: int, wanted: int, anchors: Tensor) -> tuple[int, int]:
    """Return begin and end (exclusive) of the window of a frame.

    It starts as ``near`` frames to either side, shifted inside the video, and grows by one frame to the left and right
    in turn until ``wanted`` of its frames are not ``anchors`` (bool ``[frames]``).
    """
    frames, others = len(anchors), (~anchors).tolist()
    low = max(0, min(frame - near, frames - 1 - 2 * near))
    high = min(frames, max(frame + near, 2 * near) + 1)
    if not wanted:
        return frame, frame
    held, left = sum(others[low:high]), True
    while held < wanted:
        if left and low > 0:
            low -= 1
            held += others[low]
        elif not left and high < frames:
            held += others[high]
            high += 1
        left = not left
    return low, high


def frame_blocks(grid: VideoGrid, read: Tensor, block: int) -> Tensor:
    """Return the block pairs with tokens of frames that read one another, bool ``[blocks, blocks]``; text excluded."""
    tokens = torch.arange(grid.video.start, grid.video.stop)
    frame = (tokens - grid.video.start) // grid.tokens_per_frame
    overlap = torch.zeros(-(-grid.tokens // block), grid.frames)
    overlap[tokens // block, frame] = 1
    return overlap @ read.float() @ overlap.T > 0
