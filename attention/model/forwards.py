"""Begin and end of each forward of a pipeline's models, and checks of what happened in between."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.calls.call import Kind, Step
from genkit.attention.calls.devices import devices_of
from genkit.attention.facts.volume import Volume
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.windows import Window
from genkit.attention.model.applied import Applied
from genkit.attention.model.forward import Forward, arguments_of
from genkit.attention.model.frames import latents_of, of_video
from genkit.attention.model.hooks import refuse_ring
from genkit.attention.model.progress import BATCHED, sigma_at, step_at, timestep_at

BY_ORDER = ("cond", "uncond")
"""Branches of the forwards of one step where no pipeline names them."""


class UnroutedError(RuntimeError):
    """Attention layer that was not routed through the rules."""


class Forwards(Applied):
    """Begin and end of forwards, called by hooks on the models or by the forward rules around them."""

    @property
    def volume(self) -> Volume | None:
        """Frames, rows and columns of tokens in this thread's forward for this pipeline; None outside of one."""
        return None if self._forward is None else self._forward.volume

    @property
    def lead(self) -> int:
        """Frames of ``volume``, the first ones, that are images outside the video's time; 0 outside of a forward."""
        return 0 if self._forward is None else self._forward.lead

    def begin(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read shape and step once, before the model's forward, unless it runs for another pipeline.

        Raises:
            ValueError: the model splits the keys of a call over devices.
        """
        if self.wrapped or self.trying:
            return
        self._thread.forward, self._thread.foreign = None, self.foreign
        if not self._thread.foreign:
            arguments = arguments_of(model, args, kwargs)
            self._ask_first(component, model, arguments)
            self._begin(component, model, arguments, self.step_of(model, arguments))

    def _begin(
        self, component: str, model: nn.Module, arguments: dict[str, Any], step: Step, window: Window | None = None
    ) -> None:
        refuse_ring(component, model)
        self._thread.forward = Forward(
            component=component,
            run=self.run,
            volume=self.facts_of(model).volume(model, arguments),
            before=self.facts_of(model).before(model, arguments),
            keys_only=self.facts_of(model).keys_only(model, arguments),
            others_in_self=self.facts_of(model).others_in_self(model, arguments),
            lead=self.facts_of(model).lead(model, arguments),
            step=step,
            batch=len(latents_of(arguments)),
            window=window,
            devices=devices_of(model),
        )
        self.reordering.begin(component, model, arguments, self.run)
        if self.rules:
            self._note_left(component)
        for watcher in self.watchers:
            watcher.begin(self._thread.forward)

    def _ask_first(self, component: str, model: nn.Module, arguments: dict[str, Any]) -> None:
        """Let others look at the first forward of a model before it runs, or note that nobody does."""
        if self.on_first is not None and component not in self._begun:
            with self.aside():
                self.on_first(component, model, arguments)
            self._begun.add(component)
        if component in self.unchecked:
            self.run.note(f"the facts of {component} were used as they are, without a look at what it does")

    def _note_left(self, component: str) -> None:
        """Say in the receipt which attention over the video stays as it is."""
        for reason, count in self.left[component].items():
            self.run.note(f"{count} attention layers of {component} stay as they are: {reason}")

    def end(self, component: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Check after the model's forward that every layer was routed, or skipped by a step cache.

        A cache is empty in the first step, so a layer that was never routed bypasses SDPA.

        Raises:
            UnroutedError: a layer's forward never reached ``scaled_dot_product_attention``.
        """
        if self.wrapped or self.trying:
            return
        forward = self._forward
        self._thread.forward, self._thread.foreign = None, False
        if forward is not None and out is not None:  # not another pipeline's, and without an exception
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
        """Treat the block as one forward of a model that denoises only the frames of ``window``.

        Raises:
            ValueError, UnroutedError: see ``begin`` and ``end``.
        """
        self._ask_first(component, model, arguments)
        with self._cache_context(component, window):
            if step.frame_progress is not None and len(step.frame_progress) == window.frames:
                step = replace(step, frame_progress=step.frame_progress[window.begin : window.end])
            self._begin(component, model, arguments, step, None if window.is_whole else window)
            forward = self._thread.forward
            try:
                yield
            finally:
                self._thread.forward = None
            assert forward is not None
            self._end(forward)

    def _cache_context(self, component: str, window: Window) -> AbstractContextManager[None]:
        """Separate ``cache_context`` of each window, so that diffusers' caches keep separate state."""
        around = next(around for around in self.around if around.model is self.models[component])
        if not self.caches or self._thread.context is None or around.context is None:
            return nullcontext()
        name, facts = self._thread.context
        known: AbstractContextManager[None] = around.context.inner(
            name if window.is_whole else f"{name} from frame {window.begin}", **facts
        )
        return known

    def _count(self, component: str, names: list[str], calls: dict[str, int]) -> None:
        """Record which layers a step cache skipped."""
        cached = getattr(self.models[component], "is_cache_enabled", False)
        for name in names:
            key = f"{component}.{name}"
            if name in calls:
                self.run.calls_per_forward[key] = calls[name]
            if cached or name not in calls:
                self.run.skipped[key] += 0 if name in calls else self.run.calls_per_forward[key]

    def grid_of(self, kind: Kind, other_tokens: int) -> VideoGrid:
        """Return the grid of a ``self`` or ``joint`` call in the current forward; a joint one has ``other_tokens``."""
        assert self._forward is not None
        tokens = prod(self._forward.volume) + (other_tokens if kind == "joint" else self._forward.others_in_self)
        return self._grid(kind, torch.empty(1, 1, tokens, 1, device="meta"))

    def _grid(self, kind: Kind, q: Tensor) -> VideoGrid:
        assert self._forward is not None
        return self._forward.grid(self.card, self.pipe, self.fps, kind, q)

    def step_of(self, model: nn.Module, arguments: dict[str, Any]) -> Step:
        """Return the position of the sampler in a forward with ``arguments``, once for each forward."""
        facts, batch = self.facts_of(model), len(latents_of(arguments))
        volume, timestep = facts.volume(model, arguments), facts.levels(model, arguments)
        others = facts.others_in_self(model, arguments)
        return step_at(
            self.pipe.scheduler,
            self._thread.context,
            of_video(timestep, volume, facts.before(model, arguments), others),
            volume[0],
            parts=self._parts(batch),
            ascending=self.card.ascending_sigmas,
            last=self.card.last_timestep,
            unnamed=self._branch_by_order(model, timestep) if self.card.branches in ("order", "guider") else "cond",
        )

    def _parts(self, batch: int) -> int:
        """Return the number of guidance branches in a batch; 1 if the pipeline does not put them into one."""
        if self.card.branches != "halves" or not self.batch or batch % self.batch:
            return 1
        parts = batch // self.batch
        return parts if parts <= len(BATCHED) else 1

    def _branch_by_order(self, model: nn.Module, timestep: Any) -> str:
        """Return the branch of a forward without a name: pipelines of that kind run cond first in each step."""
        now = (id(self.run), getattr(self.pipe.scheduler, "step_index", None), str(timestep))
        before, number = self._branches_done.get(id(model), (None, 0))
        number = number + 1 if before == now else 0
        self._branches_done[id(model)] = now, number
        return BY_ORDER[number] if number < len(BY_ORDER) else f"branch {number}"

    def timestep(self) -> float:
        """Return the timestep of the schedule that the noisiest frame of the current forward has reached.

        Where timesteps rise to that of the finished video: what is left, of 1000.
        """
        assert self._forward is not None
        found, last = timestep_at(self.pipe.scheduler, self._forward.step), self.card.last_timestep
        return found if last is None else 1000 * (1 - found / last)

    def sigma(self, index: int) -> float | None:
        """Return the noise level of a step in [0, 1]; None if the scheduler's sigmas mean something else."""
        return sigma_at(self.pipe.scheduler, self.card.ascending_sigmas, index)
