"""The rule that every planner shares: which calls are sparse, what a planner is told, and what the record says."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from genkit.attention.calls.call import Attend, Call, Kind, Rule
from genkit.attention.geometry.blocks import without_padding
from genkit.attention.geometry.layout import Layout
from genkit.attention.operators.block_sparse import Impl
from genkit.attention.planning.measure import reaching
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import Attended, PlannerCall

WARM_UP = "dense (warm-up)"
"""What the record calls dense steps and layers that were asked for."""
ALL_WARM_UP = "every call is dense, as dense_steps, dense_sigma and dense_layers ask"
"""What is noted where they are all of them."""


@dataclass(frozen=True, kw_only=True)
class SparseRule(Rule):
    """Attend by a planner where it applies, and by the wrapped attention where it does not.

    Calls that could not run as asked are recorded as refused, with the reason: too few tokens, a mask of the model that
    is no key padding, causal attention, a sequence that is not the grid's.
    """

    planner: Planner
    dense_steps: float = 0.25
    """Share of the steps, from the first, that run dense, in [0, 1]; rounded up to whole steps."""
    dense_sigma: float | None = None
    """Noise level in [0, 1] above which steps run dense, whatever their number; None goes by the number alone."""
    dense_layers: int = 1
    """Layers, from the first, that run dense."""
    min_tokens: int = 256
    """Tokens below which calls run dense."""
    impl: Impl = "auto"
    """Which implementation of ``block_sparse``; an explicit choice never falls back."""
    recall: float | None = None
    """Least share of each head's softmax to keep, in (0, 1]; found layer by layer in the first sparse step. None
    follows the planner's own setting."""
    max_density: float = 1.0
    """Greatest density that ``recall`` may take, in (0, 1]."""
    budget: Mapping[str, Mapping[str, Any]] | None = None
    """Fields of the planner that are different in a layer, by ``component.layer``; None changes none."""
    order: Literal["support", "logits", "branches", "sharing"] = "support"
    kinds: frozenset[Kind] = frozenset({"self", "joint"})

    @property
    def name(self) -> str:
        """Name of the planner."""
        return self.planner.name

    @property
    def layout(self) -> Layout | None:
        """Order in which the planner wants the tokens; None is frame by frame, or an order that each head has."""
        return self.planner.layout

    def wrap(self, attend: Attend) -> Attend:
        """The attention that this rule makes of ``attend``."""

        def sparse(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            if self._warming_up(call):
                call.run.count_backend(WARM_UP)
                return attend(q, k, v, replace(call, counted=True))
            if reason := self._refusal(q, k, call):
                call.run.refused(self.name, reason, call.layer, call.step.index)
                return attend(q, k, v, call)
            planner = self._budgeted(call)
            here = self.planner_call(planner, q, call)
            if reason := self._unshared(planner, call) or planner.refusal(here):
                call.run.refused(self.name, reason, call.layer, call.step.index)
                return attend(q, k, v, call)
            out, density = self._attend(planner, q, k, v, here)
            call.run.sparse(self.name, density)
            return out

        return sparse

    def _unshared(self, planner: Planner, call: Call) -> str | None:
        """Why the heads cannot be planned where devices share them; None when they can."""
        if call.devices is None:
            return None
        compares = self.recall is not None or planner.across_heads
        if compares and call.devices.group is None:
            return "heads are compared, and those of tensor parallelism lie on devices that cannot be asked"
        return None

    def _attend(self, planner: Planner, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Attend by the planner; a recall is asked for of each video by itself, as if it were made alone."""
        if here.valid is not None:  # what stands in the padding must not decide what is read
            k, v = (without_padding(x, here.valid) for x in (k, v))
        if self.recall is None:
            return planner.attend(q, k, v, here)
        rows = videos(len(q), len(here.call.step.branches))
        parts = [(q[own], k[own], v[own], here.only(number, own)) for number, own in enumerate(rows)]
        chosen = [self._reaching(planner, self.recall, *part) for part in parts]
        if len(set(chosen)) == 1:
            return chosen[0].attend(q, k, v, replace(here, planner=chosen[0]))
        out, densities = torch.empty_like(q), []
        for own, one, (q_own, k_own, v_own, there) in zip(rows, chosen, parts, strict=True):
            out[own], density = one.attend(q_own, k_own, v_own, replace(there, planner=one))
            densities.append(torch.as_tensor(density))
        return out, torch.stack(densities).mean()

    def _budgeted(self, call: Call) -> Planner:
        """The planner as the budget sets it in this layer."""
        layer = f"{call.model}.{call.layer}"
        if self.budget is not None and layer not in self.budget:
            call.run.note(f"{self.name}: the budget says nothing of {layer}, so it ran as set")
        return self.planner_in(layer)

    def planner_in(self, layer: str) -> Planner:
        """The planner as the budget, if there is one, sets it in a ``component.layer``."""
        return self._by_layer.get(layer, self.planner)

    @cached_property
    def _by_layer(self) -> dict[str, Planner]:
        return {layer: self.planner.having(**fields) for layer, fields in (self.budget or {}).items()}

    def check_layers(self, layers: Collection[str]) -> None:
        """Make sure that a model has the layers of the budget; ``layers`` are its own, as ``component.layer``.

        Raises:
            ValueError: the budget sets something in a layer that is not among them.
        """
        strange = [layer for layer in self.budget or {} if layer not in layers]
        if strange:
            raise ValueError(
                f"{self.name}: the budget sets {strange[0]}, and this model has no such layer, so it was made for "
                "another one; run `genkit probe` with this model"
            )

    def _reaching(self, planner: Planner, recall: float, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Planner:
        return here.per_layer(lambda: reaching(planner, recall, self.max_density, q, k, v, here), "reaching")

    def _warming_up(self, call: Call) -> bool:
        early = not call.step.is_past(self.dense_steps)
        return early or self._too_noisy(call) or call.depth < self.dense_layers

    def _too_noisy(self, call: Call) -> bool:
        if self.dense_sigma is None:
            return False
        if call.step.sigma is None:
            call.run.note(
                f"{self.name}: the scheduler tells no noise level, so dense_sigma={self.dense_sigma} did nothing"
            )
            return False
        return call.step.sigma > self.dense_sigma

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

    def planner_call(self, planner: Planner, q: Tensor, call: Call) -> PlannerCall:
        """Return the context of ``planner`` in a call."""
        return PlannerCall(
            planner=planner,
            call=call,
            grid=replace(call.grid, after=q.shape[2] - call.grid.before - call.grid.video_tokens, start=0),
            scale=q.shape[-1] ** -0.5 if call.scale is None else call.scale,
            valid=None if call.mask is None else padding(call.mask, q.shape[2]),
            impl=self.impl,
            device=q.device,
        )


def videos(batch: int, branches: int) -> list[Tensor]:
    """Rows of a batch that belong to each video, int64; guidance branches are equal parts of the batch."""
    return list(torch.arange(batch).view(branches if batch % branches == 0 else batch, -1).unbind(1))


def padding(mask: Tensor, keys: int) -> Tensor | None:
    """``[B, keys]`` of a mask that only hides whole keys, bool ``[B, 1, 1, keys]``; None for any other."""
    if mask.dtype == torch.bool and mask.ndim == 4 and mask.shape[1:] == (1, 1, keys):
        return mask[:, 0, 0]
    return None
