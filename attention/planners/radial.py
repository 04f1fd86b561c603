"""Radial attention as a rule around attention calls."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from genkit.attention.block_sparse import Impl, auto_impl, block_sparse
from genkit.attention.call import Attend, Call, Kind
from genkit.attention.grid import VideoGrid
from genkit.attention.plan import BlockPlan, pairs_in_blocks
from genkit.attention.planners.radial_mask import BlockRule, default_block, radial_plan

NAME = "radial"
WARM_UP = "dense (warm-up)"
"""What the record calls dense steps and layers that were asked for."""


@dataclass(frozen=True, kw_only=True)
class RadialRule:
    """Attend by the Radial mask where it applies, and by the wrapped attention where it does not.

    Calls that could not run as asked are recorded as refused, with the reason: too few tokens, a mask of the model that
    is no key padding, causal attention, a sequence that is not the grid's.
    """

    density: float | None = None
    """Share of the token pairs to execute, in (0, 1]; None follows ``decay``."""
    decay: float = 1.0
    """Width of the bands, 1 is the paper's; without effect when ``density`` is given."""
    block: int | None = None
    """Tokens of a block; None is ``default_block``."""
    sink: bool | None = None
    """Whether every query reads the first frame; None is yes without text in the sequence."""
    block_rule: BlockRule = "corrected"
    """How tokens become blocks."""
    dense_steps: float = 0.25
    """Share of the steps, from the first, that run dense, in [0, 1]; rounded up to whole steps."""
    dense_layers: int = 1
    """Layers, from the first, that run dense."""
    min_tokens: int = 256
    """Tokens below which calls run dense."""
    impl: Impl = "auto"
    """Which implementation of ``block_sparse``; an explicit choice never falls back."""
    name: str = NAME
    order: Literal["support", "logits", "branches", "sharing"] = "support"
    kinds: frozenset[Kind] = frozenset({"self", "joint"})

    def wrap(self, attend: Attend) -> Attend:
        """The attention that this rule makes of ``attend``."""

        def radial(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            if self._warming_up(call):
                call.run.ran(WARM_UP)
                return attend(q, k, v, call)
            if reason := self._refusal(q, k, call):
                call.run.refused(self.name, reason, call.layer)
                return attend(q, k, v, call)
            return self._sparse(q, k, v, call)

        return radial

    def _warming_up(self, call: Call) -> bool:
        # 0.28 * 25 is 7.000000000000001: without the rounding that would be 8 steps.
        steps = math.ceil(round(self.dense_steps * call.step.total, 6))
        return call.step.index < steps or call.depth < self.dense_layers

    def _refusal(self, q: Tensor, k: Tensor, call: Call) -> str | None:
        tokens = q.shape[2]
        if tokens < self.min_tokens:
            return f"{tokens} tokens are fewer than min_tokens={self.min_tokens}"
        fewest = call.grid.video_tokens if call.kind == "joint" else call.grid.tokens
        if k.shape[2] != tokens or not fewest <= tokens <= call.grid.tokens or call.grid.fold != "none":
            return f"{tokens} queries and {k.shape[2]} keys are not the {call.grid.tokens} tokens of all frames"
        if call.mask is not None and _padding(call.mask, tokens) is None:
            return f"the model's mask {list(call.mask.shape)} {call.mask.dtype} is more than a padding of the keys"
        asked = [name for name, value in call.options.items() if name != "backend" and value]
        return f"the model asks for {', '.join(asked)}" if asked else None

    def _sparse(self, q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
        # Some models drop the padding of their text before attention, so the text may be shorter than the grid's.
        grid = replace(call.grid, text_tokens=q.shape[2] - call.grid.video_tokens, start=0)
        key: Hashable = (self.name, grid, str(q.device))
        if key not in call.run.state:
            call.run.state[key] = _Prepared(self, grid, q, call)
        prepared: _Prepared = call.run.state[key]
        valid = None if call.mask is None else _padding(call.mask, q.shape[2])
        impl = auto_impl(q, prepared.plan) if self.impl == "auto" else self.impl
        out = block_sparse(
            q,
            k,
            v,
            prepared.plan,
            scale=call.scale,
            frames_q=prepared.frames,
            frames_k=prepared.frames,
            visible=call.visible,
            valid=valid,
            impl=impl,
        )
        call.run.ran(impl)
        call.run.sparse(self.name, prepared.density(call.visible))
        return out


class _Prepared:
    """What one grid needs on one device, made once a generation."""

    def __init__(self, rule: RadialRule, grid: VideoGrid, q: Tensor, call: Call) -> None:
        plan = radial_plan(
            grid,
            block=rule.block or default_block(grid),
            decay=rule.decay if rule.density is None else None,
            density=rule.density,
            sink=rule.sink,
            rule=rule.block_rule,
        )
        if plan.note:
            call.run.note(plan.note)
        self.whole = plan.density
        self.plan: BlockPlan = plan.to(q.device)
        self.frames = grid.frame_of_token(q.device)
        self.last: tuple[Tensor, float] | None = None

    def density(self, visible: Tensor | None) -> float:
        """Share of all token pairs that are computed: in kept blocks and between visible frames.

        Padded keys count as computed. The answer for the last table is kept, because counting waits for the device.
        """
        if visible is None:
            return self.whole
        if self.last is None or self.last[0] is not visible:
            frames = self.frames
            table = visible.to(frames.device)
            pairs = pairs_in_blocks(self.plan, frames_q=frames, frames_k=frames, visible=table)
            self.last = (visible, self.plan.share(pairs))
        return self.last[1]


def _padding(mask: Tensor, keys: int) -> Tensor | None:
    """``[B, keys]`` of a mask that only hides whole keys, bool ``[B, 1, 1, keys]``; None for any other."""
    if mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1:] == (1, 1, keys):
        return mask[:, 0, 0]
    return None
