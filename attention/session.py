"""The hook that enters a model: routes its attention calls through rules, and leaves no trace when removed.

The forward of each attention module runs inside a ``TorchFunctionMode`` that routes ``scaled_dot_product_attention``;
projections, norms and rotary stay the model's own. Another pipeline that shares a model computes as without us.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.call import Attend, Call, Kind, Rule, Step, compose
from genkit.attention.callers import nearest_pipeline
from genkit.attention.dense import dense, sdpa
from genkit.attention.devices import Devices, devices_of
from genkit.attention.grid import VideoGrid
from genkit.attention.hoist import Hoist
from genkit.attention.hooks import Around, Passage, Watcher, refuse_ring
from genkit.attention.layout import Layout, ordered
from genkit.attention.model_card import ModelCard
from genkit.attention.permute import inverse
from genkit.attention.positions import Positions, embedding_of, leave_out, projected, window_of
from genkit.attention.router import routed
from genkit.attention.run import Run
from genkit.attention.trial import SMALL, Trial, attempt, signature_of, small, untraced
from genkit.attention.volume import Volume, plain_model


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
        self.layers = [layer for name, model in self.models.items() for layer in _layers(name, model, card)]
        self.rules, self.layout = rules, _layout_of(rules)
        self.window = window_of(rules)
        self.passages: list[Passage] = []
        self.around: list[Around] = []
        self.hoists: list[Hoist] = []
        self.watchers: list[Watcher] = []
        self.batch: int | None = None
        self.on_copy: Callable[[], None] = lambda: None
        """Raises where a copy of a model would not be one."""
        self.caches = False
        """Whether a step cache of this pipeline is in the models, of which other pipelines must know nothing."""
        self._here = _Here()
        self._trials: dict[Any, Trial] = {}

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
        if self.layout is not None and self.card.blocks:
            for component, model in self.models.items():
                blocks: list[nn.Module] = [block for name in self.card.blocks for block in getattr(model, name)]
                self.hoists.append(Hoist(component, blocks, self._enter, lambda: self.inside or self._here.trying))
                self.hoists[-1].install()

    def _restart_positions(self) -> None:
        """Leave the positions of long videos to the rule whose windows begin them anew."""
        for embedding in self._restarting():
            self.passages.append(leave_out(embedding, self.window or 0, lambda: self._forward is not None))

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
            if _submodule(self.models[layer.component], layer.name) is not layer.module:
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
    def _forward(self) -> "_Forward | None":
        return self._here.forward

    def begin(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read shape and step once, before the model's forward; of another pipeline's, nothing.

        Raises:
            ValueError: the model splits the keys of a call over devices.
        """
        self._here.forward, self._here.foreign = None, self.foreign
        if self._here.foreign:
            return
        refuse_ring(component, model)
        arguments = _bound(model, args, kwargs)
        sample = arguments["hidden_states"] if "hidden_states" in arguments else arguments["sample"]
        step = self._step(arguments["timestep"], sample.shape[0])
        volume, devices = self.card.volume(model, arguments), devices_of(model)
        self._here.forward = _Forward(component, volume, step, sample.shape[0], {}, devices)
        self._try_order(component, model, arguments)
        for watcher in self.watchers:
            watcher.begin(component, step)

    def _try_order(self, component: str, model: nn.Module, arguments: dict[str, Any]) -> None:
        """Let the order of the tokens be kept through all blocks if a trial of the model, once, has shown it may be."""
        for hoist in self.hoists:
            if hoist.component == component and hoist.handles:
                key = (component, signature_of(arguments))
                if key not in self._trials:
                    self._trials[key] = self._trial(model, hoist, arguments)
                trial = self._trials[key]
                hoist.axes = trial.axes
                if trial.axes is None:
                    self.run.note(
                        f"tokens of {component} are put in order in every layer and not once for all: a "
                        f"{type(model).__name__} must not be reordered, as {trial.reason}"
                    )

    def _trial(self, model: nn.Module, hoist: Hoist, arguments: dict[str, Any]) -> Trial:
        forward = self._forward
        assert forward is not None
        if forward.devices is not None:
            return Trial(None, "devices share its tokens")
        order = torch.randperm(prod(SMALL[0]), generator=torch.Generator().manual_seed(0))

        def in_every_layer(run: Callable[[], Any]) -> Any:
            self._here.trial = partial(_ordered_in_layer, order, self.card.text_first)
            return run()

        try:
            self._here.forward, self._here.foreign, self._here.trying = None, True, True
            with untraced(model):
                sizes = [small(model, arguments, self.card.volume, volume) for volume in SMALL]
                tokens, order = (prod(SMALL[0]), prod(SMALL[1])), order.to(arguments["hidden_states"].device)
                return attempt(model, hoist, (sizes[0], sizes[1]), tokens, order, in_every_layer)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return Trial(None, f"no small trial of it can be made ({reason})")
        finally:
            hoist.shapes = hoist.axes = self._here.trial = None
            self._here.forward, self._here.foreign, self._here.trying = forward, False, False

    def end(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """After the model's forward: every layer must have come by, or have been skipped by a step cache.

        A cache has nothing to reuse at first, so a layer that never came by in this run is out of reach.

        Raises:
            UnroutedError: a layer's forward never reached ``scaled_dot_product_attention``.
        """
        forward = self._forward
        self._here.forward, self._here.foreign = None, False
        if forward is None or out is None:  # another pipeline's, or it ended in an exception
            return
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
            devices=self._forward.devices,
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
        if self._forward is None or self._forward.devices is not None:
            return None  # devices that share the tokens split them before the first block: each layer orders its own
        frames, rows, cols = self._forward.volume
        grid = VideoGrid(frames=frames, rows=rows, cols=cols)
        if self.layout is None or hidden.shape[1] != grid.tokens:
            return None
        self._forward.layout, key = self.layout, ("layout", self.layout, grid, str(hidden.device))
        if key not in self.run.state:
            self.run.state[key] = ordered(grid, self.layout).to(hidden.device)
        order: Tensor = self.run.state[key]
        return order

    def grid_of(self, kind: Kind, text_tokens: int) -> VideoGrid:
        """The grid that a call of this kind would have in the forward that runs now; ``self`` and ``joint`` alone."""
        assert self._forward is not None
        tokens = prod(self._forward.volume) + text_tokens
        return self._grid(kind, torch.empty(1, 1, tokens, 1, device="meta"))

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

    def _step(self, timestep: Any, batch: int) -> Step:
        scheduler = self.pipe.scheduler
        name, facts = self._here.context or ("cond", {})
        index = facts.get("step_index")
        if index is None:
            index = _scheduler_index(scheduler, timestep)
        doubled = self.card.batched_guidance and self.batch is not None and batch == 2 * self.batch
        branches = ("uncond", "cond") if doubled else ("cond" if name == "cond_uncond" else str(name),)
        return Step(index=index, total=len(scheduler.timesteps), sigma=self.sigma(index), branches=branches)

    def sigma(self, index: int) -> float | None:
        """Noise level of a step in [0, 1]; None for schedulers whose sigmas mean something else."""
        scheduler = self.pipe.scheduler
        if hasattr(scheduler, "sigmas") and index < len(scheduler.sigmas):
            sigma = float(scheduler.sigmas[index])
            sigma = 1 - sigma if self.card.ascending_sigmas else sigma
            return sigma if 0 <= sigma <= 1 else None
        if hasattr(scheduler, "alphas_cumprod") and index < len(scheduler.timesteps):
            return float((1 - scheduler.alphas_cumprod[int(scheduler.timesteps[index])]).sqrt())
        return None


class _Here(threading.local):
    """What one thread is doing: two threads may run two pipelines that share a model."""

    forward: "_Forward | None" = None
    foreign: bool = False
    """Whether a model runs for another pipeline."""
    trying: bool = False
    """Whether a trial of the order of the tokens runs."""
    trial: Callable[..., Tensor] | None = None
    """Answers the attention calls of a trial instead of the rules."""
    context: tuple[str, dict[str, Any]] | None = None
    """Name and facts of the ``cache_context`` that the pipeline is in."""


@dataclass
class _Forward:
    component: str
    volume: Volume
    step: Step
    batch: int
    calls: dict[str, int]
    devices: Devices | None = None
    layout: Layout | None = None


def _ordered_in_layer(
    order: Tensor, text_first: bool, layer: Layer, backend: str | None, q: Tensor, k: Tensor, v: Tensor, given: Any
) -> Tensor:
    """Dense attention to the video's tokens in another order, put back; other kinds of attention as they are."""
    options = {name: value for name, value in given.items() if name not in ("attn_mask", "scale")}
    grid = VideoGrid(frames=1, rows=1, cols=len(order))
    call = Call(layer=layer.name, depth=0, kind=layer.kind, grid=grid, step=Step(), run=Run(), options=options)
    call, mask = replace(call, scale=given.get("scale")), given.get("attn_mask")
    if layer.kind not in ("self", "joint"):
        return sdpa(q, k, v, call, mask, backend)
    places, first = torch.arange(q.shape[2], device=q.device), q.shape[2] - len(order) if text_first else 0
    places[first : first + len(order)] = order + first
    for axis in (-1, -2):
        if mask is not None and mask.ndim >= -axis and mask.shape[axis] == len(places):
            mask = mask.index_select(axis, places)
    return sdpa(q[:, :, places], k[:, :, places], v[:, :, places], call, mask, backend)[:, :, inverse(places)]


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


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
    return {name: value for name, value in bound.arguments.items() if value is not model}


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
