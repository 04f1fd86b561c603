"""The rule around every planner: which calls are sparse, the planner's context, and the entries in the record."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from genkit.attention.calls.call import Attend, Call, Kind, Rule
from genkit.attention.calls.keys_only import per_query_head, share_of_queries
from genkit.attention.calls.padding import padding
from genkit.attention.geometry.blocks import without_padding
from genkit.attention.geometry.layout import Layout
from genkit.attention.operators.block_sparse import Impl
from genkit.attention.planning.measure import reaching
from genkit.attention.planning.padding import without_padding_behind
from genkit.attention.planning.planner import Planner
from genkit.attention.planning.planner_call import Attended, PlannerCall

WARM_UP = "dense (warm-up)"
"""Receipt label of calls that the warm-up runs dense."""
ALL_WARM_UP = "every call is dense, as dense_steps, dense_sigma and dense_layers ask"
"""Note of the receipt if those are all calls."""


@dataclass(frozen=True, kw_only=True)
class SparseFields:
    """Fields of a sparse plug-in and of its rule: which calls are sparse, and min and max of what they keep."""

    recall: float | None = None
    """Min share of each head's softmax mass to keep, in (0, 1]: the first sparse step tries the method's settings in
    each layer, from sparse to dense, and takes the first that reaches it. None uses the method's own setting."""
    max_density: float = 1.0
    """Max density under ``recall``, in (0, 1]; if it is not enough, the generation stops with an error."""
    dense_steps: float = 0.25
    """Share of the steps, from the first, that run dense, rounded up to whole steps; 0 is none."""
    dense_sigma: float | None = None
    """Noise level in [0, 1] above which steps also run dense, useful for few steps or when starting from another video;
    None is only ``dense_steps``."""
    dense_layers: int = 1
    """Layers, from the first, that run dense; 0 is none."""
    min_tokens: int = 256
    """Tokens below which attention is dense, because sparse attention would not be faster; the receipt says so."""
    impl: Impl = "auto"
    """Implementation that computes the kept blocks; an explicit choice never falls back."""


@dataclass(frozen=True, kw_only=True)
class SparseRule(SparseFields, Rule):
    """Attention by a planner where it applies, otherwise by the wrapped attention.

    Calls that cannot run as requested are recorded as refused, with the reason: too few tokens, a mask of the model
    other than key padding, causal attention, or a sequence that does not match the grid.
    """

    planner: Planner
    budget: Mapping[str, Mapping[str, Any]] | None = None
    """Fields of the planner to override in a layer, by ``component.layer``; None: no overrides."""
    order: Literal["support", "logits", "branches", "sharing"] = "support"
    kinds: frozenset[Kind] = frozenset({"self", "joint"})

    @property
    def name(self) -> str:
        """Name of the planner."""
        return self.planner.name

    @property
    def layout(self) -> Layout | None:
        """Token order that the planner requests; None: frame by frame, or a separate order in each head."""
        return self.planner.layout

    def wrap(self, attend: Attend) -> Attend:
        """Return ``attend`` with the planner's attention in the calls that it takes."""

        def sparse(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            if self._warming_up(call):
                call.run.count_backend(WARM_UP)
                return attend(q, k, v, replace(call, counted=True))
            short, tokens = without_padding_behind(call, q.shape[2])
            if reason := self._refusal(q, k, short, tokens):
                call.run.refused(self.name, reason, call.layer, call.step.index)
                return attend(q, k, v, call)
            planner = self._budgeted(call)
            here = self.planner_call(planner, q[:, :, :tokens], short)
            if reason := self._unshared(planner, call) or planner.refusal(here):
                call.run.refused(self.name, reason, call.layer, call.step.index)
                return attend(q, k, v, call)
            valid = slice(0, tokens)
            k, v = per_query_head(q, k, v)
            out, density = self._attend(planner, q[:, :, valid], k[:, :, valid], v[:, :, valid], here)
            call.run.sparse(self.name, share_of_queries(density, here.grid))
            return pad(out, (0, 0, 0, q.shape[2] - tokens)) if tokens < q.shape[2] else out

        return sparse

    def _unshared(self, planner: Planner, call: Call) -> str | None:
        """Reason that heads which devices share cannot be planned, or None."""
        if call.devices is None:
            return None
        compares = self.recall is not None or planner.across_heads
        if compares and call.devices.group is None:
            return "heads are compared, and devices in tensor parallelism cannot exchange them"
        return None

    def _attend(self, planner: Planner, q: Tensor, k: Tensor, v: Tensor, here: PlannerCall) -> Attended:
        """Attend by the planner; a recall is reached for each video separately, as if it were generated alone."""
        if here.valid is not None:  # the content of the padding must not influence the plan
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
        """Planner with the fields that the budget sets in this layer."""
        layer = f"{call.model}.{call.layer}"
        if self.budget is not None and layer not in self.budget:
            call.run.note(f"{self.name}: the budget has no entry for {layer}, so it ran with the plug-in's settings")
        return self.planner_in(layer)

    def planner_in(self, layer: str) -> Planner:
        """Return the planner with the fields that the budget sets in a ``component.layer``."""
        return self._by_layer.get(layer, self.planner)

    @cached_property
    def _by_layer(self) -> dict[str, Planner]:
        return {layer: self.planner.having(**fields) for layer, fields in (self.budget or {}).items()}

    def check_layers(self, layers: Collection[str]) -> None:
        """Check that a model has all layers of the budget; ``layers`` are the model's, as ``component.layer``.

        Raises:
            ValueError: the budget has a layer that the model has not.
        """
        strange = [layer for layer in self.budget or {} if layer not in layers]
        if strange:
            raise ValueError(
                f"{self.name}: the budget sets {strange[0]}, which this model does not have, so it was made for "
                "another model; run `genkit probe` with this one"
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
                f"{self.name}: the scheduler has no noise levels, so dense_sigma={self.dense_sigma} had no effect"
            )
            return False
        return call.step.sigma > self.dense_sigma

    def _refusal(self, q: Tensor, k: Tensor, call: Call, tokens: int) -> str | None:
        if call.logits is not None:
            return "another rule changes the logits between frames, which sparse attention does not add"
        if tokens < self.min_tokens:
            return f"{tokens} tokens are fewer than min_tokens={self.min_tokens}"
        fewest = call.grid.video_tokens if call.kind == "joint" else call.grid.tokens
        if k.shape[2] != q.shape[2] or not fewest <= tokens <= call.grid.tokens or call.grid.fold != "none":
            return f"{q.shape[2]} queries and {k.shape[2]} keys are not the {call.grid.tokens} tokens of all frames"
        if call.mask is not None and padding(call.mask, tokens) is None:
            return f"the model's mask {list(call.mask.shape)} {call.mask.dtype} is not a key padding mask"
        asked = [name for name, value in call.options.items() if name not in ("backend", "enable_gqa") and value]
        return f"the model sets {', '.join(asked)}" if asked else None

    def planner_call(self, planner: Planner, q: Tensor, call: Call) -> PlannerCall:
        """Return the context of ``planner`` for a call."""
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
    """Return the rows of the batch for each video, int64; guidance branches are equal parts of the batch."""
    return list(torch.arange(batch).view(branches if batch % branches == 0 else batch, -1).unbind(1))
