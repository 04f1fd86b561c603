"""Rules applied to one pipeline: their state while they are installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Attend, Kind, Rule, compose
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.card import Card
from genkit.attention.facts.model_facts import ModelFacts
from genkit.attention.facts.volume import plain_model
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.forward import Forward, ThreadState
from genkit.attention.model.hooks import EAGER, Around, Passage, Watcher
from genkit.attention.model.layers import layers_of, left_dense
from genkit.attention.model.order.reordering import Reordering
from genkit.attention.model.positions import first_positions, window_of


class Applied:
    """Rules applied to one pipeline; ``run`` is replaced before each generation."""

    def __init__(self, pipe: Any, card: Card, rules: list[Rule]) -> None:
        self.pipe, self.card = pipe, card
        self.run, self.fps = RunRecord(), card.fps or VideoGrid.fps
        self.attends: dict[Kind, Attend] = {kind: compose(dense, rules, kind) for kind in card.kinds}
        self.models = {name: plain_model(getattr(pipe, name)) for name in card.models}
        found = (layers_of(name, model, card.models[name]) for name, model in self.models.items())
        self.layers = [layer for layers in found for layer in layers]
        self.left = {name: left_dense(model, card.models[name]) for name, model in self.models.items()}
        """Modules of each model that stay as they are, by reason."""
        self.rules = rules
        self.window = window_of(rules)
        self.table_of: Callable[[nn.Module, int], Tensor] = first_positions
        """Returns the first positions that a module adds to hidden states, for windows in which they restart."""
        self.passages: list[Passage] = []
        self.around: list[Around] = []
        self.watchers: list[Watcher] = []
        self.batch: int | None = None
        self.on_copy: Callable[[], None] = lambda: None
        """Raises if a copy of a model would not be faithful."""
        self.on_first: Callable[[str, nn.Module, dict[str, Any]], None] | None = None
        """Called before the first forward of each model, with its component and arguments; None: nobody asks."""
        self.unchecked: frozenset[str] = frozenset()
        """Components whose facts nobody compares with them, which the record of each run says."""
        self._begun: set[str] = set()
        """Components whose first forward has begun."""
        self.wrapped = False
        """True if forward rules are around the models; they begin and end each forward themselves."""
        self.max_frames: int | None = None
        """Max latent frames in a forward of a model; None: as many as the video."""
        self.caches = False
        """True if a step cache of this pipeline is in the models; other pipelines must not use it."""
        self._branches_done: dict[int, tuple[Any, int]] = {}
        """Step of the last forward without a name, and its number in that step, by the identity of its model."""
        self._thread = ThreadState()
        self.reordering = Reordering(card, _layout_of(rules), self._thread)

    def facts_of(self, model: nn.Module) -> ModelFacts:
        """Return the facts of one of the pipeline's models."""
        return next(self.card.models[name] for name, own in self.models.items() if own is model)

    @contextmanager
    def within(self, name: str, facts: dict[str, Any]) -> Iterator[None]:
        """Set the ``cache_context`` of a model, and the facts that the pipeline passes to it, inside the block."""
        before, self._thread.context = self._thread.context, (name, facts)
        try:
            yield
        finally:
            self._thread.context = before

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let forwards inside the block run as without us, and return to the forward that runs now."""
        thread = self._thread
        before = thread.forward, thread.foreign, thread.trying
        thread.forward, thread.foreign, thread.trying = None, True, True
        try:
            yield
        finally:
            thread.forward, thread.foreign, thread.trying = before

    @property
    def foreign(self) -> bool:
        """True if another pipeline runs in this thread."""
        return nearest_pipeline() not in (None, self.pipe)

    @property
    @torch.compiler.disable(reason=EAGER)
    def inside(self) -> bool:
        """True if this thread is in a forward of a model that this pipeline runs."""
        return self._forward is not None

    @property
    def trying(self) -> bool:
        """True if this thread runs the trial of a model."""
        return self._thread.trying

    @property
    def branch_name(self) -> str | None:
        """Name of the ``cache_context`` of this thread; None outside of one."""
        return None if self._thread.context is None else self._thread.context[0]

    @property
    def _forward(self) -> Forward | None:
        return self._thread.forward


def _layout_of(rules: list[Rule]) -> Layout | None:
    """Token order of a single rule; None with several rules, because others count tokens frame by frame."""
    return rules[0].layout if len(rules) == 1 else None
