"""Tokens of a pipeline's models in a static order: kept through all blocks where a trial has shown that it may be."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import sdpa
from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.card import Card
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout, ordered
from genkit.attention.model.forward import ThreadState
from genkit.attention.model.layers import Layer
from genkit.attention.model.order.hoist import Hoist
from genkit.attention.model.order.trial import SMALL, Trial, attempt, signature_of, small, untraced
from genkit.attention.operators.permute import inverse


class Reordering:
    """Token order of one session; does nothing without a layout, or without blocks in the facts of a model."""

    def __init__(self, card: Card, layout: Layout | None, thread: ThreadState) -> None:
        self.card, self.layout, self.thread = card, layout, thread
        self.hoists: list[Hoist] = []
        self.trials: dict[Any, Trial] = {}

    def install(self, models: dict[str, nn.Module]) -> None:
        """Register the hooks on the blocks of every model."""
        for component, model in models.items():
            names = () if self.layout is None else self.card.models[component].blocks
            blocks: list[nn.Module] = [block for name in names for block in getattr(model, name)]
            if blocks:
                self.hoists.append(Hoist(component, blocks, self._enter, self._inside))
                self.hoists[-1].install()

    def remove(self) -> None:
        """Remove the hooks."""
        while self.hoists:
            self.hoists.pop().remove()

    def begin(self, component: str, model: nn.Module, arguments: dict[str, Any], run: RunRecord) -> None:
        """Enable the order through all blocks if a trial, run once per model and arguments, shows that it is safe."""
        for hoist in self.hoists:
            if hoist.component == component and hoist.handles:
                key = (component, signature_of(arguments))
                if key not in self.trials:
                    self.trials[key] = self._trial(component, model, hoist, arguments)
                trial = self.trials[key]
                hoist.axes = trial.axes
                if trial.axes is None:
                    run.note(
                        f"tokens of {component} are put in order in every layer and not once for all: a "
                        f"{type(model).__name__} must not be reordered, as {trial.reason}"
                    )

    def _inside(self) -> bool:
        return self.thread.forward is not None or self.thread.trying

    def _enter(self, hidden: Tensor) -> Tensor | None:
        """Order for the hidden states of a first block; None if they are not the tokens of the video."""
        forward = self.thread.forward
        if forward is None or forward.devices is not None:
            return None  # devices share the tokens before the first block: each layer reorders
        frames, rows, cols = forward.volume
        grid = VideoGrid(frames=frames, rows=rows, cols=cols)
        if self.layout is None or hidden.shape[1] != grid.tokens:
            return None
        forward.layout = layout = self.layout
        key = ("layout", layout, grid, str(hidden.device))
        return forward.run.memory.table(key, lambda: ordered(grid, layout).to(hidden.device))

    def _trial(self, component: str, model: nn.Module, hoist: Hoist, arguments: dict[str, Any]) -> Trial:
        thread, forward, facts = self.thread, self.thread.forward, self.card.models[component]
        assert forward is not None
        if forward.devices is not None:
            return Trial(None, "devices share its tokens", tried=False)
        order = torch.randperm(prod(SMALL[0]), generator=torch.Generator().manual_seed(0))

        def in_every_layer(run: Callable[[], Any]) -> Any:
            thread.trial = partial(_ordered_in_layer, order, facts.before(model, arguments))
            return run()

        try:
            thread.forward, thread.foreign, thread.trying = None, True, True
            with untraced(model):
                sizes = [small(model, arguments, facts.volume, volume) for volume in SMALL]
                tokens, order = (prod(SMALL[0]), prod(SMALL[1])), order.to(arguments["hidden_states"].device)
                return attempt(model, hoist, (sizes[0], sizes[1]), tokens, order, in_every_layer)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return Trial(None, f"a small trial of it failed ({reason})", tried=False)
        finally:
            hoist.shapes = hoist.axes = thread.trial = None
            thread.forward, thread.foreign, thread.trying = forward, False, False


def _ordered_in_layer(
    order: Tensor, before: int | None, layer: Layer, backend: str | None, q: Tensor, k: Tensor, v: Tensor, given: Any
) -> Tensor:
    """Dense attention to the video tokens in another order, then restored; other kinds of attention unchanged."""
    options = {name: value for name, value in given.items() if name not in ("attn_mask", "scale")}
    grid = VideoGrid(frames=1, rows=1, cols=len(order))
    call = Call(
        layer=layer.name,
        depth=0,
        kind=layer.kind,
        grid=grid,
        step=Step(),
        run=RunRecord(),
        options=options,
        scale=given.get("scale"),
    )
    mask = given.get("attn_mask")
    if layer.kind not in ("self", "joint"):
        return sdpa(q, k, v, call, mask, backend)
    places, first = torch.arange(q.shape[2], device=q.device), q.shape[2] - len(order) if before is None else before
    places[first : first + len(order)] = order + first
    for axis in (-1, -2):
        if mask is not None and mask.ndim >= -axis and mask.shape[axis] == len(places):
            mask = mask.index_select(axis, places)
    return sdpa(q[:, :, places], k[:, :, places], v[:, :, places], call, mask, backend)[:, :, inverse(places)]
