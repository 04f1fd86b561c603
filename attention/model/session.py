"""The hook that enters a model: routes its attention calls through rules, and leaves no trace when removed.

The forward of each attention module runs inside a ``TorchFunctionMode`` that routes ``scaled_dot_product_attention``;
projections, norms and rotary stay the model's own. Another pipeline that shares a model computes as without us.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Attend, Call, Kind, Rule, Step, compose
from genkit.attention.calls.dense import dense
from genkit.attention.calls.devices import devices_of
from genkit.attention.calls.run import Run
from genkit.attention.facts.model_card import ModelCard
from genkit.attention.facts.volume import Volume, plain_model
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout
from genkit.attention.geometry.windows import Window
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.forward import Forward, Here, arguments_of
from genkit.attention.model.frames import latents_of
from genkit.attention.model.hooks import Around, Passage, Watcher, refuse_ring
from genkit.attention.model.layers import Layer, layers_of, module_at
from genkit.attention.model.positions import Positions, embedding_of, first_positions, leave_out, projected, window_of
from genkit.attention.model.progress import sigma_at, step_at, timestep_at
from genkit.attention.model.reordering import Reordering
from genkit.attention.model.router import routed


class UnroutedError(RuntimeError):
    """An attention layer computed without passing through the rules."""


class ReplacedError(RuntimeError):
    """A part of the pipeline is not the one any more that the rules went into; its only argument is the part's name."""


class Session:
    """Rules installed in one pipeline; ``run`` is replaced before each generation."""

    def __init__(self, pipe: Any, card: ModelCard, rules: list[Rule]) -> None:
        self.pipe, self.card = pipe, card
        self.run, self.fps = Run(), card.fps
        kinds: list[Kind] = list(card.layers)
        self.attends: dict[Kind, Attend] = {kind: compose(dense, rules, kind) for kind in kinds}
        parts = {name: getattr(pipe, name, None) for name in card.components}
        self.models = {name: plain_model(part) for name, part in parts.items() if part is not None}
        self.layers = [layer for name, model in self.models.items() for layer in layers_of(name, model, card)]
        self.rules = rules
        self.window = window_of(rules)
        self.table_of: Callable[[nn.Module, int], Tensor] = first_positions
        """Reads the first positions that a module adds to hidden states, for windows in which they begin anew."""
        self.passages: list[Passage] = []
        self.around: list[Around] = []
        self.watchers: list[Watcher] = []
        self.batch: int | None = None
        self.on_copy: Callable[[], None] = lambda: None
        """Raises where a copy of a model would not be one."""
        self.wrapped = False
        """Whether forward rules are around the models, which begin and end each forward themselves."""
        self.max_frames: int | None = None
        """Latent frames that a forward of a model has at most; None: as many as the video."""
        self.caches = False
        """Whether a step cache of this pipeline is in the models, of which other pipelines must know nothing."""
        self._here = Here()
        self.reordering = Reordering(card, _layout_of(rules), self._here)

    def install(self) -> None:
        """Register the hooks on every attention module and on the models themselves.

        Raises:
            LookupError: the pipeline has no attention module of its family's card.
            ValueError: a model splits the keys of a call over devices.
        """
        for name, model in self.models.items():
            refuse_ring(name, model)
        if not self.layers:
            raise LookupError(
                f"no attention module of {type(self.pipe).__name__} matches the card of {self.card.title}; "
                "is this model of another version?"
            )
        for layer in self.layers:
            self.passages.append(Passage(layer.module, partial(self.route, layer)))
        for name, model in self.models.items():
            self.around.append(Around(name, model, self))
        self._restart_positions()
        self.reordering.install(self.models)

    def _restart_positions(self) -> None:
        """Leave the positions of long videos to the rule whose windows begin them anew."""
        for embedding in self._restarting():
            self.passages.append(leave_out(embedding, self.window or 0, lambda: self._forward is not None))

    @property
    def bounded(self) -> bool:
        """Whether the positions of the model bound the length of a video; not where they restart in windows."""
        return not self._restarting() and self.max_frames is None

    def _restarting(self) -> list[nn.Module]:
        """The modules that add positions in time, if a rule begins them anew in windows."""
        layers = [layer for layer in self.layers if layer.kind == "temporal" and self.window is not None]
        found = (self._embedding(layer) for layer in layers)
        return list(dict.fromkeys(one for one in found if one is not None))

    def _embedding(self, layer: Layer) -> nn.Module | None:
        return embedding_of(self.models[layer.component], layer.name)

    def _positions(self, layer: Layer, q: Tensor) -> Positions | None:
        """What the model left out of a call along time that is longer than a window."""
        if self.window is None or layer.kind != "temporal" or q.shape[2] <= self.window:
            return None
        embedding, key = self._embedding(layer), ("positions", layer.component, layer.name, q.dtype, str(q.device))
        if embedding is None:
            return None
        window, table = self.window, self.table_of(embedding, self.window)
        return self.run.memory.table(key, lambda: projected(layer.module, table, window, q))

    def remove(self) -> None:
        """Take every hook out again, last in first out."""
        self.reordering.remove()
        while self.around:
            self.around.pop().remove()
        while self.passages:
            self.passages.pop().remove()

    def check_parts(self) -> None:
        """The pipeline must still have the models and layers that the rules went into; who only took a hook of ours
        out gets it back.

        Raises:
            ReplacedError: it has others.
        """
        for name, model in self.models.items():
            if plain_model(getattr(self.pipe, name, None)) is not model:
                raise ReplacedError(name)
        for layer in self.layers:
            if module_at(self.models[layer.component], layer.name) is not layer.module:
                raise ReplacedError(f"{layer.component}.{layer.name}")
        for passage in self.passages:
            passage.renew()

    def copied(self) -> None:
        """Somebody copies or pickles a model."""
        self.on_copy()

    @contextmanager
    def within(self, name: str, facts: dict[str, Any]) -> Iterator[None]:
        """Inside one ``cache_context`` of a model, with what the pipeline says there."""
        before, self._here.context = self._here.context, (name, facts)
        try:
            yield
        finally:
            self._here.context = before

    @property
    def foreign(self) -> bool:
        """Whether another pipeline is at work in this thread."""
        return nearest_pipeline() not in (None, self.pipe)

    @property
    @torch.compiler.disable
    def inside(self) -> bool:
        """Whether this thread is inside a forward of a model that is this pipeline's own doing."""
        return self._forward is not None

    @property
    def volume(self) -> Volume | None:
        """Frames, rows and columns of tokens in the forward that this thread runs for this pipeline; None outside."""
        return None if self._forward is None else self._forward.volume

    @property
    def _forward(self) -> Forward | None:
        return self._here.forward

    def begin(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read shape and step once, before the model's forward; of another pipeline's, nothing.

        Raises:
            ValueError: the model splits the keys of a call over devices.
        """
        if self.wrapped:
            return
        self._here.forward, self._here.foreign = None, self.foreign
        if not self._here.foreign:
            arguments = arguments_of(model, args, kwargs)
            self._begin(component, model, arguments, self.step_of(model, arguments))

    def _begin(
        self, component: str, model: nn.Module, arguments: dict[str, Any], step: Step, window: Window | None = None
    ) -> None:
        refuse_ring(component, model)
        self._here.forward = Forward(
            component=component,
            run=self.run,
            volume=self.card.volume(model, arguments),
            step=step,
            batch=len(latents_of(arguments)),
            window=window,
            devices=devices_of(model),
        )
        self.reordering.begin(component, model, arguments, self.run)
        for watcher in self.watchers:
            watcher.begin(self._here.forward)

    def end(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """After the model's forward: every layer must have come by, or have been skipped by a step cache.

        A cache has nothing to reuse at first, so a layer that never came by in this run is out of reach.

        Raises:
            UnroutedError: a layer's forward never reached ``scaled_dot_product_attention``.
        """
        if self.wrapped:
            return
        forward = self._forward
        self._here.forward, self._here.foreign = None, False
        if forward is not None and out is not None:  # not another pipeline's, and not ended in an exception
            self._end(forward)

    def _end(self, forward: Forward) -> None:
        component = forward.component
        names = [layer.name for layer in self.layers if layer.component == component]
        missed = [name for name in names if f"{component}.{name}" not in self.run.routed]
        if missed:
            raise UnroutedError(
                f"{component}.{missed[0]} never called scaled_dot_product_attention ({len(missed)} such layers), so no "
                "rule could act there; choose the native attention processor for it"
            )
        self._count(component, names, forward.calls)
        for watcher in self.watchers:
            watcher.end(forward)

    @contextmanager
    def forward_in(
        self, component: str, model: nn.Module, arguments: dict[str, Any], step: Step, window: Window
    ) -> Iterator[None]:
        """Let what runs inside the block be one forward of a model, about the frames of ``window`` alone.

        Raises:
            ValueError, UnroutedError: as where a forward of the model begins and ends by itself.
        """
        with self._cache_context(component, window):
            if step.frame_progress is not None and len(step.frame_progress) == window.frames:
                step = replace(step, frame_progress=step.frame_progress[window.begin : window.end])
            self._begin(component, model, arguments, step, None if window.is_whole else window)
            forward = self._here.forward
            try:
                yield
            finally:
                self._here.forward = None
            assert forward is not None
            self._end(forward)

    def _cache_context(self, component: str, window: Window) -> AbstractContextManager[None]:
        """A ``cache_context`` for each window, so that diffusers' caches remember each apart."""
        around = next(around for around in self.around if around.model is self.models[component])
        if not self.caches or self._here.context is None or around.context is None:
            return nullcontext()
        name, facts = self._here.context
        known: AbstractContextManager[None] = around.context.inner(
            name if window.is_whole else f"{name} from frame {window.begin}", **facts
        )
        return known

    @property
    def trying(self) -> bool:
        """Whether this thread tries a model out."""
        return self._here.trying

    def _count(self, component: str, names: list[str], calls: dict[str, int]) -> None:
        """Keep in the record which layers were skipped, where the model has a step cache."""
        cached = getattr(self.models[component], "is_cache_enabled", False)
        for name in names:
            key = f"{component}.{name}"
            if name in calls:
                self.run.calls_per_forward[key] = calls[name]
            if cached or name not in calls:
                self.run.skipped[key] += 0 if name in calls else self.run.calls_per_forward[key]

    def route(self, layer: Layer, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one attention module with its attention routed; in another pipeline's forward, untouched.

        Raises:
            UnroutedError: it runs for this pipeline, and nothing told where its model's forward began.
        """
        if self._here.trial is not None:
            return routed(layer.module, partial(forward, *args, **kwargs), partial(self._here.trial, layer))
        if self._forward is not None:
            return routed(layer.module, partial(forward, *args, **kwargs), partial(self.attend, layer))
        if not self._here.foreign and nearest_pipeline() is self.pipe:
            raise UnroutedError(
                f"{layer.component}.{layer.name} ran in a forward of its model whose beginning was not seen, so no "
                "rule could act there; remove() the plug-ins and apply() them again after changing the pipeline"
            )
        return forward(*args, **kwargs)

    def attend(
        self, layer: Layer, backend: str | None, q: Tensor, k: Tensor, v: Tensor, given: dict[str, Any]
    ) -> Tensor:
        """Answer one call of ``scaled_dot_product_attention``."""
        assert self._forward is not None
        number = self._forward.counted(layer.name)
        options = {name: value for name, value in given.items() if name not in ("attn_mask", "scale")}
        if backend is not None:
            options["backend"] = backend
        call = Call(
            layer=layer.name,
            depth=layer.depth,
            kind=layer.kind,
            model=layer.component,
            grid=self._grid(layer.kind, q),
            layout=self._forward.layout if layer.kind in ("self", "joint") else None,
            step=self._forward.step_of(q, number),
            window=self._forward.window,
            devices=self._forward.devices,
            number=number,
            run=self.run,
            positions=self._positions(layer, q),
            mask=given.get("attn_mask"),
            scale=given.get("scale"),
            options=options,
        )
        return self.attends[layer.kind](q, k, v, call)

    def grid_of(self, kind: Kind, text_tokens: int) -> VideoGrid:
        """The grid that a call of this kind would have in the forward that runs now; ``self`` and ``joint`` alone."""
        assert self._forward is not None
        tokens = prod(self._forward.volume) + text_tokens
        return self._grid(kind, torch.empty(1, 1, tokens, 1, device="meta"))

    def _grid(self, kind: Kind, q: Tensor) -> VideoGrid:
        assert self._forward is not None
        return self._forward.grid(self.card, self.pipe, self.fps, kind, q)

    def step_of(self, model: nn.Module, arguments: dict[str, Any]) -> Step:
        """Return where the sampler is in a forward that is given ``arguments``."""
        batch, (frames, _, _) = len(latents_of(arguments)), self.card.volume(model, arguments)
        doubled = self.card.batched_guidance and self.batch is not None and batch == 2 * self.batch
        context = self._here.context
        return step_at(self.pipe.scheduler, self.card, context, arguments["timestep"], frames, doubled=doubled)

    def timestep(self) -> float:
        """Return the timestep of the schedule that the noisiest frame of the forward that runs now has reached."""
        assert self._forward is not None
        return timestep_at(self.pipe.scheduler, self._forward.step)

    def sigma(self, index: int) -> float | None:
        """Noise level of a step in [0, 1]; None for schedulers whose sigmas mean something else."""
        return sigma_at(self.pipe.scheduler, self.card, index)


def _layout_of(rules: list[Rule]) -> Layout | None:
    """The order of the tokens that the only rule asks for; None with other rules, which count tokens frame by frame."""
    return rules[0].layout if len(rules) == 1 else None
