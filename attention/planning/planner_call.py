"""Context a planner gets for one attention call: geometry, mask, cache, backend."""

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
"""Output ``[B, H, N, D]`` and the density, a scalar tensor."""
AttendPlanned = Callable[[Tensor, Tensor, Tensor, "PlannerCall"], Attended]
"""A planner's ``attend``."""


@dataclass(frozen=True, kw_only=True)
class PlannerCall:
    """Context of a planner in one attention call."""

    planner: Hashable
    """The planner with its settings; part of all its state keys."""
    call: Call
    grid: VideoGrid
    """Geometry with the actual text tokens of this call; some models drop padding before attention."""
    scale: float
    """Factor on the logits."""
    valid: Tensor | None
    """bool ``[B or 1, N]``; False keys are padding. None: none are."""
    impl: Impl
    """Requested implementation of ``block_sparse``."""
    device: torch.device
    layout: Layout | None = None
    """Order of the tokens that the planner gets; None: frame by frame."""

    def only(self, video: int, rows: Tensor) -> "PlannerCall":
        """Return the context for one video, in ``rows`` of the batch; only the first video is counted in the record."""
        valid, mask = (None if x is None or len(x) == 1 else x for x in (self.valid, self.call.mask))
        call = replace(self.call, video=video, counted=self.call.counted or video > 0)
        if mask is not None:
            call = replace(call, mask=mask[rows])
        return replace(self, call=call, valid=self.valid if valid is None else valid[rows])

    def in_order(self, layout: Layout | None, q: Tensor, k: Tensor, v: Tensor, attend: AttendPlanned) -> Attended:
        """Call ``attend`` with the tokens in the order of ``layout`` and restore the order; None: frame by frame.

        Nothing is permuted if the model's hooks have done so already.
        """
        there = replace(self, layout=layout)
        if layout == self.call.layout:
            return attend(q, k, v, there)
        order = self.per_run(lambda: self._order_to(layout), "order", layout, self.call.layout)
        out, density = attend(permute(q, order), permute(k, order), permute(v, order), there)
        return permute(out, inverse(order)), density

    def _order_to(self, layout: Layout | None) -> Tensor:
        """Index in this call of each token in the order of ``layout``, int64 ``[1, 1, N]``."""
        have, want = (
            torch.arange(self.grid.tokens) if one is None else ordered(self.grid, one)
            for one in (self.call.layout, layout)
        )
        return inverse(have)[want].to(self.device)[None, None]

    def per_run(self, make: Callable[[], T], *key: Hashable) -> T:
        """Return the cached ``make()``, computed once per generation and grid and shared by all layers."""
        return self.call.run.memory.table((self.planner, self.grid, str(self.device), *key), make)

    def per_layer(self, make: Callable[[], T], *key: Hashable) -> T:
        """Return the cached ``make()``, once per generation, grid, window, model, layer, guidance branch and video."""
        return self.call.run.memory.at(self.call.place, (self.planner, self.grid, *key), make)

    def set_per_layer(self, value: object, *key: Hashable) -> None:
        """Store the value that ``per_layer`` returns for ``key``."""
        self.call.run.memory.put(self.call.place, (self.planner, self.grid, *key), value)

    def all_heads(self, x: Tensor) -> tuple[Tensor, slice]:
        """Gather ``[B, H, ..]`` of all heads from ``[B, H of this device, ..]``; return it and this device's slice.

        Without parallelism this is ``x`` itself. Only for planners with ``across_heads``.
        """
        devices = self.call.devices
        return (x, slice(None)) if devices is None else devices.gather_heads(x)

    def reads_first_frame(self, asked: bool | None) -> bool:
        """Return True if all queries read the first frame: ``asked``, or for None, if the attention has no text."""
        return self.call.kind != "joint" if asked is None else asked

    def block(self, asked: int | None) -> int:
        """Return the tokens per block: ``asked``, or for None, 64 and less for small frames."""
        return asked or default_block(self.grid, max_block=64)

    def always_kept(self, block: int, *, first_frame: bool) -> Tensor:
        """Return ``shared.always_kept`` for this grid on the device of the call; cached per generation."""
        made = lambda: always_kept(self.grid, block, self.layout, first_frame=first_frame).to(self.device)  # noqa: E731
        return self.per_run(made, "kept", block, first_frame, self.layout)

    @property
    def frames(self) -> Tensor:
        """Latent frame of each token, int64 ``[N]``; -1 for text."""
        return self.per_run(lambda: self.grid.frame_of_token(self.device), "frames")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, *, tail: bool = False) -> Tensor:
        """Attend to the blocks of ``plan`` in visible frames, and count the implementation in the record."""
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
        """Count the implementation of this call in the record, unless the call is counted already."""
        if not self.call.counted:
            self.call.run.count_backend(implementation)

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        """Do nothing after an executed plan; overridden to record recall. The tokens are in the plan's order."""

    def dense(self, q: Tensor, k: Tensor, v: Tensor, *, plan: BlockPlan | None = None) -> tuple[Tensor, Tensor]:
        """Return output and natural log-sum-exp ``[B, H, N]`` over all keys that may be read, or those of ``plan``."""
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
        """Return the share of token pairs in kept blocks and visible frames, padding included.

        A scalar tensor, because reading the number would synchronise with the GPU.
        """
        pairs = plan.sizes
        if self.call.visible is not None:
            table = self.call.visible.to(self.device)
            pairs = pairs_in_blocks(plan, frames_q=self.frames, frames_k=self.frames, visible=table)
        return (plan.keep * pairs).sum((-2, -1)).mean() / (plan.queries * plan.keys)
