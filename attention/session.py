"""The hook that enters a model: routes its attention calls through rules, and leaves no trace when removed.

Each attention module gets a diffusers ``ModelHook`` whose forward runs the original one inside a
``TorchFunctionMode`` that routes ``scaled_dot_product_attention``; projections, norms and rotary stay the model's own.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genkit.attention.call import Attend, Call, Kind, Rule, Step, compose
from genkit.attention.dense import dense
from genkit.attention.grid import VideoGrid
from genkit.attention.hoist import Hoist
from genkit.attention.hooks import Registered, Watcher, make_layer_hook, make_model_hook, refuse_ring, register
from genkit.attention.layout import Layout, ordered
from genkit.attention.model_card import ModelCard
from genkit.attention.positions import Positions, embedding_of, leave_out, projected, window_of
from genkit.attention.run import Run
from genkit.attention.volume import Volume, plain_model

NATIVE = "native"


@dataclass(frozen=True)
class Layer:
    """One attention module."""

    component: str
    name: str
    kind: Kind
    depth: int
    module: nn.Module


class UnroutedError(RuntimeError):
    """An attention layer computed without passing through the rules."""


class Session:
    """Rules installed in one pipeline; ``run`` is replaced before each generation."""

    def __init__(self, pipe: Any, card: ModelCard, rules: list[Rule]) -> None:
        self.pipe, self.card = pipe, card
        self.run, self.fps = Run(), card.fps
        kinds: list[Kind] = list(card.layers)
        self.attends: dict[Kind, Attend] = {kind: compose(dense, rules, kind) for kind in kinds}
        parts = {name: getattr(pipe, name, None) for name in card.components}
        self.models = {name: plain_model(part) for name, part in parts.items() if part is not None}
        self.layers = [layer for name, model in self.models.items() for layer in _layers(name, model, card)]
        self.layout = _layout_of(rules)
        self.window = window_of(rules)
        self.hooks: list[Registered] = []
        self.hoists: list[Hoist] = []
        self.watchers: list[Watcher] = []
        self.batch: int | None = None
        self._forward: _Forward | None = None

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
            self.hooks.append(register(layer.module, make_layer_hook(layer, self.route)))
        for name, model in self.models.items():
            self.hooks.append(register(model, make_model_hook(name, self)))
        self._restart_positions()
        if self.layout is not None and self.card.blocks:
            for model in self.models.values():
                blocks: list[nn.Module] = [block for name in self.card.blocks for block in getattr(model, name)]
                self.hoists.append(Hoist(blocks, self._enter))
                self.hoists[-1].install()

    def _restart_positions(self) -> None:
        """Leave the positions of long videos to the rule whose windows begin them anew."""
        for embedding in self._restarting():
            self.hooks.append(leave_out(embedding, self.window or 0, lambda: self._forward is not None))

    @property
    def bounded(self) -> bool:
        """Whether the positions of the model bound the length of a video; not where they begin anew in windows."""
        return not self._restarting()

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
        if key not in self.run.state:
            self.run.state[key] = projected(layer.module, embedding, self.window, q)
        found: Positions = self.run.state[key]
        return found

    def remove(self) -> None:
        """Take every hook out again, last in first out."""
        while self.hoists:
            self.hoists.pop().remove()
        while self.hooks:
            self.hooks.pop().remove()

    @torch.compiler.disable
    def begin(
        self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], context: Any
    ) -> None:
        """Read shape and step once, before the model's forward.

        Raises:
            ValueError: the model splits the keys of a call over devices.
        """
        refuse_ring(component, model)
        arguments = _bound(model, args, kwargs)
        sample = arguments["hidden_states"] if "hidden_states" in arguments else arguments["sample"]
        step = self._step(arguments["timestep"], sample.shape[0], context)
        self._forward = _Forward(component, self.card.volume(model, arguments), step, sample.shape[0], {})
        for watcher in self.watchers:
            watcher.begin(component, step)

    @torch.compiler.disable
    def end(self, component: str) -> None:
        """After the model's forward: every layer must have come by, or have been skipped by a step cache.

        A cache has nothing to reuse at first, so a layer that never came by in this run is out of reach.

        Raises:
            UnroutedError: a layer's forward never reached ``scaled_dot_product_attention``.
        """
        forward, self._forward = self._forward, None
        assert forward is not None
        names = [layer.name for layer in self.layers if layer.component == component]
        missed = [name for name in names if f"{component}.{name}" not in self.run.routed]
        if missed:
            raise UnroutedError(
                f"{component}.{missed[0]} never called scaled_dot_product_attention ({len(missed)} such layers), so no "
                "rule could act there; choose the native attention processor for it"
            )
        self._count(component, names, forward.calls)
        for watcher in self.watchers:
            watcher.end(component, forward.step)

    def _count(self, component: str, names: list[str], calls: dict[str, int]) -> None:
        """Keep in the record which layers were skipped, where the model has a step cache."""
        cached = getattr(self.models[component], "is_cache_enabled", False)
        for name in names:
            key = f"{component}.{name}"
            if name in calls:
                self.run.usual[key] = calls[name]
            if cached or name not in calls:
                self.run.skipped[key] += 0 if name in calls else self.run.usual[key]

    def abandon(self) -> None:
        """Forget a forward that ended in an exception."""
        self._forward = None

    def route(self, layer: Layer, forward: Callable[[], Any]) -> Any:
        """Run one attention module with its attention routed; outside a model's forward, untouched."""
        if self._forward is None:
            return forward()
        processor: Any = getattr(layer.module, "processor", None)
        chosen = getattr(processor, "_attention_backend", None)
        has_choice = hasattr(processor, "_attention_backend")
        if has_choice:
            processor._attention_backend = NATIVE
        try:
            with _Router(self, layer, _backend(chosen, has_choice)):
                return forward()
        finally:
            if has_choice:
                _restore(processor, chosen)

    def attend(
        self, layer: Layer, backend: str | None, q: Tensor, k: Tensor, v: Tensor, given: dict[str, Any]
    ) -> Tensor:
        """Answer one call of ``scaled_dot_product_attention``."""
        assert self._forward is not None
        number = self._forward.calls.get(layer.name, 0)
        self._forward.calls[layer.name] = number + 1
        self.run.routed[f"{layer.component}.{layer.name}"] += 1
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
            step=self._branch(q, number),
            number=number,
            run=self.run,
            positions=self._positions(layer, q),
            mask=given.get("attn_mask"),
            scale=given.get("scale"),
            options=options,
        )
        return self.attends[layer.kind](q, k, v, call)

    def _enter(self, hidden: Tensor) -> Tensor | None:
        """The order for the hidden states of a first block; None where they are not the tokens of the video."""
        if self._forward is None:
            return None
        frames, rows, cols = self._forward.volume
        grid = VideoGrid(frames=frames, rows=rows, cols=cols)
        if self.layout is None or hidden.shape[1] != grid.tokens:
            return None
        self._forward.layout, key = self.layout, ("layout", self.layout, grid, str(hidden.device))
        if key not in self.run.state:
            self.run.state[key] = ordered(grid, self.layout).to(hidden.device)
        order: Tensor = self.run.state[key]
        return order

    def _grid(self, kind: Kind, q: Tensor) -> VideoGrid:
        assert self._forward is not None
        frames, rows, cols = self._forward.volume
        grid = VideoGrid(
            frames=frames,
            rows=rows,
            cols=cols,
            stride=self.card.stride(self.pipe),
            fps=self.fps,
            native_frames=self.card.token_frames(self.pipe, self.card.native_frames),
            text_first=self.card.text_first,
        )
        if self.card.stride_attribute is None:
            return _unet_grid(grid, kind, q, self._forward.batch)
        return replace(grid, text_tokens=q.shape[2] - grid.video_tokens if kind == "joint" else 0)

    def _branch(self, q: Tensor, number: int) -> Step:
        """The step with the branches of this call; Mochi calls once a sample."""
        assert self._forward is not None
        step, batch = self._forward.step, self._forward.batch
        if q.shape[0] == 1 and batch > 1 and len(step.branches) > 1:
            return replace(step, branches=(step.branches[number * len(step.branches) // batch],))
        return step

    def _step(self, timestep: Any, batch: int, context: Any) -> Step:
        scheduler = self.pipe.scheduler
        index = getattr(context, "step_index", None)
        if index is None:
            index = _scheduler_index(scheduler, timestep)
        doubled = self.card.batched_guidance and self.batch is not None and batch == 2 * self.batch
        name = getattr(context, "name", context) or "cond"
        branches = ("uncond", "cond") if doubled else ("cond" if name == "cond_uncond" else str(name),)
        return Step(index=index, total=len(scheduler.timesteps), sigma=self._sigma(index), branches=branches)

    def _sigma(self, index: int) -> float | None:
        """Noise level of a step in [0, 1]; None for schedulers whose sigmas mean something else."""
        scheduler = self.pipe.scheduler
        if hasattr(scheduler, "sigmas") and index < len(scheduler.sigmas):
            sigma = float(scheduler.sigmas[index])
            sigma = 1 - sigma if self.card.ascending_sigmas else sigma
            return sigma if 0 <= sigma <= 1 else None
        if hasattr(scheduler, "alphas_cumprod") and index < len(scheduler.timesteps):
            return float((1 - scheduler.alphas_cumprod[int(scheduler.timesteps[index])]).sqrt())
        return None


@dataclass
class _Forward:
    component: str
    volume: Volume
    step: Step
    batch: int
    calls: dict[str, int]
    layout: Layout | None = None


class _Router(TorchFunctionMode):
    def __init__(self, session: Session, layer: Layer, backend: str | None) -> None:
        super().__init__()
        self.session, self.layer, self.backend = session, layer, backend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        q, k, v = (given.pop(name) for name in names[:3])
        return self.session.attend(self.layer, self.backend, q, k, v, given)


def _layout_of(rules: list[Rule]) -> Layout | None:
    """The order of the tokens that the only rule asks for; None with other rules, which count tokens frame by frame."""
    return getattr(rules[0], "layout", None) if len(rules) == 1 else None


def _layers(component: str, model: nn.Module, card: ModelCard) -> list[Layer]:
    depth: dict[Kind, int] = {}
    found = []
    for name, module in model.named_modules():
        kind = card.kind_of(name)
        if kind is not None:
            found.append(Layer(component, name, kind, depth.setdefault(kind, 0), module))
            depth[kind] += 1
    return found


def _bound(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The model's arguments by name."""
    bound = inspect.signature(type(model).forward).bind_partial(model, *args, **kwargs)
    return dict(bound.arguments)


def _backend(chosen: Any, has_choice: bool) -> str | None:
    """The attention backend that the user chose for a layer, or None for PyTorch's own."""
    if not has_choice:
        return None
    if chosen is None:
        from diffusers.models.attention_dispatch import _AttentionBackendRegistry

        chosen = _AttentionBackendRegistry.get_active_backend()[0]
    name = str(getattr(chosen, "value", chosen))
    return None if name == NATIVE else name


def _restore(processor: Any, chosen: Any) -> None:
    """Put a processor's choice back; the class attribute counts when the instance had none."""
    if chosen is None and type(processor)._attention_backend is None:
        processor.__dict__.pop("_attention_backend", None)
    else:
        processor._attention_backend = chosen


def _scheduler_index(scheduler: Any, timestep: Any) -> int:
    """The solver step, from the scheduler's own counter or by looking its timestep up."""
    if hasattr(scheduler, "step_index"):
        return int(scheduler.step_index or 0)
    now = timestep.flatten()[0] if isinstance(timestep, Tensor) else torch.tensor(timestep)
    same = (scheduler.timesteps == now.to(scheduler.timesteps.device)).nonzero().flatten()
    return int(same[0]) if len(same) else 0


def _unet_grid(grid: VideoGrid, kind: Kind, q: Tensor, batch: int) -> VideoGrid:
    """The grid of one level of a UNet, where rows and columns are halved (rounding up) from level to level."""
    pixels = q.shape[0] // batch if kind == "temporal" else q.shape[2]
    rows, cols = grid.rows, grid.cols
    while rows * cols > pixels and rows * cols > 1:
        rows, cols = -(-rows // 2), -(-cols // 2)
    if prod((rows, cols)) != pixels:
        raise RuntimeError(
            f"no level of a {grid.rows}x{grid.cols} latent has {pixels} places; is the UNet of a new kind?"
        )
    return replace(grid, rows=rows, cols=cols, fold="space" if kind == "temporal" else "time")
