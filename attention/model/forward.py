"""State of one forward of a model: the volume of its tokens, the solver step, and its attention calls."""

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from torch import Tensor, nn

from genkit.attention.calls.call import Kind, Step
from genkit.attention.calls.devices import Devices
from genkit.attention.calls.run import RunRecord
from genkit.attention.facts.card import Card
from genkit.attention.facts.volume import Volume
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.layout import Layout
from genkit.attention.geometry.windows import Window

Context = tuple[str, dict[str, Any]]
"""Name and facts of a pipeline's current ``cache_context``."""


@dataclass(kw_only=True)
class Forward:
    """Running forward of a model."""

    component: str
    run: RunRecord
    volume: Volume
    step: Step
    batch: int
    before: int | None = 0
    """Other tokens in front of the video where they share its sequence; None: all of them."""
    keys_only: int = 0
    """Tokens in front of the queries of ``joint`` layers that are keys only."""
    others_in_self: int = 0
    """Other tokens that share the sequence of ``self`` layers with the video."""
    lead: int = 0
    """Frames of the volume, the first ones, that are images outside the video's time."""
    window: Window | None = None
    """Window of the video that the model denoises; None: the whole video."""
    devices: Devices | None = None
    layout: Layout | None = None
    """Order of the tokens between the blocks; None: frame by frame."""
    calls: dict[str, int] = field(default_factory=dict)
    """Attention calls so far, by layer."""

    def counted(self, layer: str) -> int:
        """Count one more call of a layer and return the number before it."""
        number = self.calls.get(layer, 0)
        self.calls[layer] = number + 1
        self.run.routed[f"{self.component}.{layer}"] += 1
        return number

    def grid(self, card: Card, pipe: Any, fps: float, kind: Kind, q: Tensor) -> VideoGrid:
        """Return the geometry of a call with queries ``q`` [B, H, N, D]."""
        frames, rows, cols = self.volume
        grid = VideoGrid(
            frames=frames,
            rows=rows,
            cols=cols,
            stride=card.stride(pipe),
            fps=fps,
            native_frames=(card.native_token_frames(pipe) or frames - self.lead) + self.lead,
            lead=self.lead,
            start=0 if self.window is None else self.window.begin,
        )
        if card.models[self.component].folds:
            return unet_grid(grid, kind, q, self.batch)
        others = {"joint": q.shape[2] - grid.video_tokens, "self": self.others_in_self}.get(kind, 0)
        before = others if self.before is None else min(self.before, others)
        spare = self.keys_only if kind == "joint" else 0
        return replace(grid, before=spare + before, keys_only=spare, after=others - before)

    def step_of(self, q: Tensor, number: int) -> Step:
        """Return the step with the branches of a layer's call ``number``; Mochi makes a call for each sample."""
        branches = self.step.branches
        if q.shape[0] == 1 and self.batch > 1 and len(branches) > 1:
            return replace(self.step, branches=(branches[number * len(branches) // self.batch],))
        return self.step


class ThreadState(threading.local):
    """State of one thread: two threads may run two pipelines that share a model."""

    forward: Forward | None = None
    foreign: bool = False
    """True if a model runs for another pipeline."""
    trying: bool = False
    """True if a trial of the token order runs."""
    trial: Callable[..., Tensor] | None = None
    """Answers the attention calls of a trial, instead of the rules."""
    context: Context | None = None


def arguments_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model's forward by name."""
    bound = inspect.signature(type(model).forward).bind_partial(model, *args, **kwargs)
    return {name: value for name, value in bound.arguments.items() if value is not model}


def unet_grid(grid: VideoGrid, kind: Kind, q: Tensor, batch: int) -> VideoGrid:
    """Return the grid of one level of a UNet; each level halves rows and columns (rounding up).

    Perturbed-attention guidance attends only to the branches that it does not perturb, two of the batch's three.

    Raises:
        RuntimeError: no level has as many places as ``q`` [B, H, N, D].
    """
    levels = [(grid.rows, grid.cols)]
    while prod(levels[-1]) > 1:
        levels.append((-(-levels[-1][0] // 2), -(-levels[-1][1] // 2)))
    temporal = kind == "temporal"
    for videos in (batch, batch * 2 // 3):
        for rows, cols in levels:
            if (q.shape[0] == videos * rows * cols) if temporal else (q.shape[2] == rows * cols):
                return replace(grid, rows=rows, cols=cols, fold="space" if temporal else "time")
    raise RuntimeError(
        f"no level of a {grid.rows}x{grid.cols} latent fits queries {list(q.shape)}; is this a new kind of UNet?"
    )
