"""The rule that every planner shares: which calls are sparse, what a planner is told, and what the record says."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

from genkit.attention.block_sparse import Impl, auto_impl, block_sparse
from genkit.attention.call import Attend, Call, Kind
from genkit.attention.grid import VideoGrid
from genkit.attention.plan import BlockPlan, pairs_in_blocks

WARM_UP = "dense (warm-up)"
"""What the record calls dense steps and layers that were asked for."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where a planner stands: one attention call, with the tokens that are really in it."""

    planner: str
    """Name of the planner; a part of the key of all that it remembers."""
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

    def shared(self, make: Callable[[], T], *key: Hashable) -> T:
        """``make()``, once a generation for this grid, whatever the layer."""
        return self._kept((self.planner, self.grid, str(self.device), *key), make)

    def own(self, make: Callable[[], T], *key: Hashable) -> T:
        """``make()``, once a generation for this grid, window, model, layer and guidance branch."""
        return self._kept((*self._mine, *key), make)

    def remember(self, value: object, *key: Hashable) -> None:
        """Replace what ``own`` gives for ``key``."""
        self.call.run.state[(*self._mine, *key)] = value

    @property
    def _mine(self) -> tuple[Hashable, ...]:
        # A window of frames, and a layer that is asked twice (all frames, near ones), are calls of their own.
        call, near = self.call, self.call.visible is not None
        return (self.planner, self.grid, call.grid.start, near, call.model, call.layer, call.step.branches)

    def _kept(self, key: Hashable, make: Callable[[], T]) -> T:
        state = self.call.run.state
        if key not in state:
            state[key] = make()
        kept: T = state[key]
        return kept

    @property
    def frames(self) -> Tensor:
        """Latent frame of every token, -1 for text; int64 ``[N]``."""
        return self.shared(lambda: self.grid.frame_of_token(self.device), "frames")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, *, tail: bool = False) -> Tensor:
        """Attention over the blocks of ``plan`` and the visible frames; says in the record which implementation ran."""
        impl = auto_impl(q, plan, tail=tail) if self.impl == "auto" else self.impl
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
        self.call.run.ran(impl)
        return out

    def density(self, plan: BlockPlan) -> Tensor:
        """Share of all token pairs that are computed: in kept blocks and between visible frames; padding counts.

        A tensor, because asking for the number would make a GPU wait.
        """
        pairs = plan.sizes
        if self.call.visible is not None:
            table = self.call.visible.to(self.device)
            pairs = pairs_in_blocks(plan, frames_q=self.frames, frames_k=self.frames, visible=table)
        return (plan.keep * pairs).sum((-2, -1)).mean() / (plan.queries * plan.keys)


class Planner(Protocol):
    """A method that leaves out a part of the attention."""

    @property
    def name(self) -> str:
        """Name of the plug-in, for the record."""
        ...

    def refusal(self, here: Here) -> str | None:
        """Why this call has to be dense; None when it has not."""
        ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Output ``[B, H, N, D]`` and the share of the token pairs that were computed, a tensor of one number."""
        ...


@dataclass(frozen=True, kw_only=True)
class SparseRule:
    """Attend by a planner where it applies, and by the wrapped attention where it does not.

    Calls that could not run as asked are recorded as refused, with the reason: too few tokens, a mask of the model that
    is no key padding, causal attention, a sequence that is not the grid's.
    """

    planner: Planner
    dense_steps: float = 0.25
    """Share of the steps, from the first, that run dense, in [0, 1]; rounded up to whole steps."""
    dense_layers: int = 1
    """Layers, from the first, that run dense."""
    min_tokens: int = 256
    """Tokens below which calls run dense."""
    impl: Impl = "auto"
    """Which implementation of ``block_sparse``; an explicit choice never falls back."""
    order: Literal["support", "logits", "branches", "sharing"] = "support"
    kinds: frozenset[Kind] = frozenset({"self", "joint"})

    @property
    def name(self) -> str:
        """Name of the planner."""
        return self.planner.name

    def wrap(self, attend: Attend) -> Attend:
        """The attention that this rule makes of ``attend``."""

        def sparse(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            if self._warming_up(call):
                call.run.ran(WARM_UP)
                return attend(q, k, v, call)
            if reason := self._refusal(q, k, call):
                call.run.refused(self.name, reason, call.layer)
                return attend(q, k, v, call)
            here = self._here(q, call)
            if reason := self.planner.refusal(here):
                call.run.refused(self.name, reason, call.layer)
                return attend(q, k, v, call)
            out, density = self.planner.attend(q, k, v, here)
            call.run.sparse(self.name, density)
            return out

        return sparse

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
        if call.mask is not None and padding(call.mask, tokens) is None:
            return f"the model's mask {list(call.mask.shape)} {call.mask.dtype} is more than a padding of the keys"
        asked = [name for name, value in call.options.items() if name != "backend" and value]
        return f"the model asks for {', '.join(asked)}" if asked else None

    def _here(self, q: Tensor, call: Call) -> Here:
        return Here(
            planner=self.name,
            call=call,
            grid=replace(call.grid, text_tokens=q.shape[2] - call.grid.video_tokens, start=0),
            scale=q.shape[-1] ** -0.5 if call.scale is None else call.scale,
            valid=None if call.mask is None else padding(call.mask, q.shape[2]),
            impl=self.impl,
            device=q.device,
        )


def padding(mask: Tensor, keys: int) -> Tensor | None:
    """``[B, keys]`` of a mask that only hides whole keys, bool ``[B, 1, 1, keys]``; None for any other."""
    if mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1:] == (1, 1, keys):
        return mask[:, 0, 0]
    return None
