"""What a planner gets for one attention call: geometry, padding, what is stored, and how to attend."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from genkit.attention.calls.call import Call
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout, ordered
from genkit.attention.geometry.plan import BlockPlan, pairs_in_blocks
from genkit.attention.operators.block_sparse import Impl, auto_impl, block_sparse
from genkit.attention.operators.permute import inverse, permute
from genkit.attention.planning.shared import always_kept, default_block

T = TypeVar("T")
Attended = tuple[Tensor, Tensor]
"""Output ``[B, H, N, D]`` and the share of the token pairs that were computed, a tensor of one number."""
AttendPlanned = Callable[[Tensor, Tensor, Tensor, "PlannerCall"], Attended]
"""A planner's ``attend``."""


@dataclass(frozen=True, kw_only=True)
class PlannerCall:
    """Context of a planner in one attention call, with the tokens that are really in it."""

    planner: Hashable
    """The planner with its settings; a part of the key of all that is stored for it."""
    call: Call
    grid: VideoGrid
    """Geometry with the text tokens of this call; some models drop padded words before attention."""
    scale: float
    """Factor on the logits."""
    valid: Tensor | None
    """bool ``[B or 1, N]``; False keys are padding; None is all."""
    impl: Impl
    """Which implementation of ``block_sparse`` was asked for."""
    device: torch.device
    layout: Layout | None = None
    """Order of the tokens that the planner is given; None is frame by frame."""

    def only(self, video: int, rows: Tensor) -> "PlannerCall":
        """The same place for one video, which stands in ``rows`` of the batch; the record counts the first alone."""
        valid, mask = (None if x is None or len(x) == 1 else x for x in (self.valid, self.call.mask))
        call = replace(self.call, video=video, counted=self.call.counted or video > 0)
        if mask is not None:
            call = replace(call, mask=mask[rows])
        return replace(self, call=call, valid=self.valid if valid is None else valid[rows])

    def in_order(self, layout: Layout | None, q: Tensor, k: Tensor, v: Tensor, attend: AttendPlanned) -> Attended:
        """What ``attend`` gives for the tokens in the order of ``layout``, put back; None is frame by frame.

        The hooks of the model may have put them in order already.
        """
        there = replace(self, layout=layout)
        if layout == self.call.layout:
            return attend(q, k, v, there)
        order = self.per_run(lambda: self._order_to(layout), "order", layout, self.call.layout)
        out, density = attend(permute(q, order), permute(k, order), permute(v, order), there)
        return permute(out, inverse(order)), density

    def _order_to(self, layout: Layout | None) -> Tensor:
        """The place in this call of each token in the order of ``layout``, int64 ``[1, 1, N]``."""
        have, want = (
            torch.arange(self.grid.tokens) if one is None else ordered(self.grid, one)
            for one in (self.call.layout, layout)
        )
        return inverse(have)[want].to(self.device)[None, None]

    def per_run(self, make: Callable[[], T], *key: Hashable) -> T:
        """``make()``, once a generation for this grid, whatever the layer."""
        return self.call.run.memory.table((self.planner, self.grid, str(self.device), *key), make)

    def per_layer(self, make: Callable[[], T], *key: Hashable) -> T:
        """``make()``, once a generation for this grid, window, model, layer, guidance branch and video."""
        return self.call.run.memory.at(self.call.place, (self.planner, self.grid, *key), make)

    def set_per_layer(self, value: object, *key: Hashable) -> None:
        """Replace what ``per_layer`` gives for ``key``."""
        self.call.run.memory.put(self.call.place, (self.planner, self.grid, *key), value)

    def all_heads(self, x: Tensor) -> tuple[Tensor, slice]:
        """``[B, H, ..]`` of all heads of the layer from ``[B, H here, ..]``, and which of them are here.

        They differ where devices share the heads; only for planners that say ``across_heads``.
        """
        devices = self.call.devices
        return (x, slice(None)) if devices is None else devices.gather_heads(x)

    def reads_first_frame(self, asked: bool | None) -> bool:
        """Return whether all queries read the first frame: as asked; for None, where no text is in the attention."""
        return self.call.kind != "joint" if asked is None else asked

    def block(self, asked: int | None) -> int:
        """Tokens of a block: as asked, or 64 and less for small frames where None is."""
        return asked or default_block(self.grid, max_block=64)

    def always_kept(self, block: int, *, first_frame: bool) -> Tensor:
        """``shared.always_kept`` of this grid, on the device of the call; made once a generation."""
        made = lambda: always_kept(self.grid, block, self.layout, first_frame=first_frame).to(self.device)  # noqa: E731
        return self.per_run(made, "kept", block, first_frame, self.layout)

    @property
    def frames(self) -> Tensor:
        """Latent frame of every token, -1 for text; int64 ``[N]``."""
        return self.per_run(lambda: self.grid.frame_of_token(self.device), "frames")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, *, tail: bool = False) -> Tensor:
        """Attention over the blocks of ``plan`` and the visible frames; says in the record which implementation ran."""
        impl = auto_impl(q, k, v) if self.impl == "auto" else self.impl
        visible = self.call.visible
        frames = None if visible is None else self.frames
        out = block_sparse(
            q,
            k,
            v,
            plan,
            scale=self.scale,
            frames_q=frames,
            frames_k=frames,
            visible=visible,
            valid=self.valid,
            tail=tail,
            impl=impl,
        )
        self.count_backend(impl)
        self.on_plan(q, k, v, lambda: plan)
        return out

    def count_backend(self, implementation: str) -> None:
        """Say in the record which implementation did this call, unless it counts under another name."""
        if not self.call.counted:
            self.call.run.count_backend(implementation)

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        """Called with each executed plan, with the tokens in its order; overridden to record recall."""

    def dense(self, q: Tensor, k: Tensor, v: Tensor, *, plan: BlockPlan | None = None) -> tuple[Tensor, Tensor]:
        """Output and natural log-sum-exp ``[B, H, N]`` over all that may be read, or over the blocks of ``plan``."""
        if plan is None:
            blocks = -(-q.shape[2] // 128)
            whole = torch.ones(1, 1, blocks, blocks, dtype=torch.bool, device=self.device)
            plan = BlockPlan(whole, 128, q.shape[2], k.shape[2])
        frames = None if self.call.visible is None else self.frames
        return block_sparse(
            q,
            k,
            v,
            plan,
            scale=self.scale,
            frames_q=frames,
            frames_k=frames,
            visible=self.call.visible,
            valid=self.valid,
            return_lse=True,
        )

    def density(self, plan: BlockPlan) -> Tensor:
        """Share of all token pairs that are computed: in kept blocks and between visible frames; padding counts.

        A tensor, because asking for the number would make a GPU wait.
        """
        pairs = plan.sizes
        if self.call.visible is not None:
            table = self.call.visible.to(self.device)
            pairs = pairs_in_blocks(plan, frames_q=self.frames, frames_k=self.frames, visible=table)
        return (plan.keep * pairs).sum((-2, -1)).mean() / (plan.queries * plan.keys)
