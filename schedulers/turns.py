"""Diagonal denoising: a queue of latent frames of rising noise, from which the cleanest leaves in every turn.

Pure functions and classes on tensors: nothing here knows a pipeline, a model or a solver of diffusers. Frames are along
one ``axis`` of the latents, whatever their other axes mean. Noise levels are those of flow matching: a frame ``z`` at
``sigma`` in [0, 1] is ``(1 - sigma) z + sigma noise``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Draw = Callable[[int], Tensor]
"""A function from a number of latent frames to fresh noise, shaped as the latents along every other axis."""
Solve = Callable[[Tensor, Tensor, int], Tensor]
"""The stock solver: (prediction, latents, step) to the latents after that step."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The noise levels that a solver goes through, noisiest first."""

    sigmas: Tensor
    """``[S + 1]``, falling, the last is 0."""
    timesteps: Tensor
    """``[S]``, what the model is given for each of the first ``S``."""
    predicts: Literal["velocity", "clean"] = "velocity"
    """The model's output for a frame ``z``: ``noise - z`` or ``z`` itself."""

    @property
    def steps(self) -> int:
        """Solver steps of one frame."""
        return len(self.timesteps)

    def clean(self, latents: Tensor, prediction: Tensor, sigmas: Tensor) -> Tensor:
        """Return the clean frames that a prediction stands for; ``sigmas`` broadcasts to ``latents``."""
        return prediction if self.predicts == "clean" else latents - sigmas * prediction


@dataclass(frozen=True, kw_only=True)
class Forward:
    """The frames that one forward of the model sees in a turn, and those whose prediction is taken."""

    begin: int
    """First frame of the latents that it sees."""
    end: int
    """The frame after the last that it sees."""
    keep: int
    """First frame whose prediction is taken; those before it are only looked at."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The frames of the queue: ``context`` clean ones, and one at each noise level, the cleanest first."""

    steps: int
    """Noise levels, and so frames, of the queue."""
    window: int
    """Latent frames that one forward sees."""
    lookahead: bool = True
    """Whether a forward sees cleaner frames before those that it moves."""

    @property
    def moved(self) -> int:
        """Frames that one forward moves, at most: with look-ahead half a window, rounded down."""
        return min(self.steps, max(1, self.window // 2) if self.lookahead else self.window)

    @property
    def context(self) -> int:
        """Clean frames that stay at the head of the queue, for the first forward to see."""
        return self.window - self.moved

    def forwards(self) -> Iterator[Forward]:
        """Cut the queue into forwards of ``window`` frames; each level is moved by exactly one of them.

        The last one ends with the queue, so that it may keep fewer frames and see more.
        """
        frames = self.context + self.steps
        borders = [*range(self.context, frames, self.moved), frames]
        for keep, end in pairwise(borders):
            yield Forward(begin=end - self.window, end=end, keep=keep)

    def sources(self) -> list[int]:
        """Return which frame of the first clip each frame of the queue begins as, 0 first.

        The clip's last frame takes the noisiest place; places before its first frame take that.
        """
        first = self.window - self.steps
        return [max(0, first + place) for place in range(-self.context, self.steps)]


class DiagonalTurns:
    """One video by diagonal denoising; ``step`` is called once a turn.

    The first ``S`` turns are plain steps of the stock solver, and make a clip of one window. Its frames, with noise of
    their level, fill the queue. Every turn after that moves each frame one level down, gives the cleanest away to the
    CPU, and takes a frame of noise in. Where the queue is longer than the window, the frames before the clip are copies
    of its first one and are thrown away.

    Source: FIFO-Diffusion, arXiv 2405.11473, algorithms 1 to 3. Different from the source: the step between two levels
    is the first-order one of flow matching without new noise (its code takes DDIM with eta 1); clean frames are given
    to the model as clean (timestep 0; its code gives the lowest level of the solver); the number of levels need not be
    a multiple of the window; and with fewer levels than a window has frames the clip's first frames are kept as they
    are. Forwards of one turn read the queue as the turn found it: in the source they write into it, noisiest first,
    which comes to the same.
    """

    def __init__(self, queue: Queue, levels: Levels, frames: int, axis: int, draw: Draw) -> None:
        if frames <= queue.window:
            raise ValueError(f"frames={frames} must be more than the window of {queue.window} latent frames")
        self.queue, self.levels, self.axis, self._draw = queue, levels, axis, draw
        self._drop = max(0, queue.steps - queue.window)
        self._made: list[Tensor] = []
        self._estimate: Tensor | None = None
        self.moved = False
        """Whether the last turn moved frames to other places of the latents."""
        self.turn = 0
        """Turns that are done."""
        self.total = queue.steps + frames + queue.steps - queue.window
        """Turns of the run."""
        clean = levels.timesteps.new_zeros(queue.context)
        self._timesteps = torch.cat([clean, levels.timesteps.flip(0)])

    @property
    def timesteps(self) -> Tensor:
        """Timesteps of the pipeline's loop, ``[total]``: the solver's own, then the noisiest level of each queue."""
        more = self.levels.timesteps[:1].expand(self.total - self.levels.steps)
        return torch.cat([self.levels.timesteps, more])

    @property
    def sigmas(self) -> Tensor:
        """The noise levels of ``timesteps``, and a last 0: ``[total + 1]``."""
        more = self.levels.sigmas[:1].expand(self.total - self.levels.steps)
        return torch.cat([self.levels.sigmas[:-1], more, self.levels.sigmas[-1:]])

    @property
    def latent_frames(self) -> int:
        """Frames of the latents that this turn begins with."""
        return self.queue.window if self.turn < self.levels.steps else self.queue.context + self.queue.steps

    def forwards(self) -> Sequence[Forward]:
        """Return what the forwards of this turn see."""
        if self.turn < self.levels.steps:
            return [Forward(begin=0, end=self.queue.window, keep=0)]
        return list(self.queue.forwards())

    def frame_timesteps(self) -> Tensor | None:
        """Return the timestep of each frame of the queue, 0 for clean ones; None before there is a queue."""
        return None if self.turn < self.levels.steps else self._timesteps

    def step(self, prediction: Tensor, latents: Tensor, solve: Solve) -> Tensor:
        """Return the latents with which the next turn begins; of the last turn, all frames of the video.

        Args:
            prediction: of the model, shaped as ``latents``; that of the clean frames is not read.
            latents: those of this turn.
            solve: the stock solver.
        """
        turn, self.turn = self.turn, self.turn + 1
        if turn < self.levels.steps:
            latents = solve(prediction, latents, turn)
            self.moved = self.turn == self.levels.steps
            return self._filled(latents) if self.moved else latents
        return self._moved(prediction, latents)

    def estimate(self) -> Tensor | None:
        """Return the frames that the last queue is heading for, the clean ones first; None before there is a queue."""
        return self._estimate

    def _filled(self, clip: Tensor) -> Tensor:
        """The first queue: frames of the clip, with noise of their level."""
        clean = range(self.queue.window - self.queue.steps)
        self._made.extend(clip.narrow(self.axis, number, 1).clone().cpu() for number in clean)
        places = torch.tensor(self.queue.sources(), device=clip.device)
        self._estimate = clip.index_select(self.axis, places)
        context, frames = self._split(self._estimate)
        sigmas = self._shaped(self.levels.sigmas[:-1].flip(0), clip)
        return torch.cat([context, (1 - sigmas) * frames + sigmas * self._draw(self.queue.steps)], self.axis)

    def _moved(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """Every frame one level down; the clean one out, a fresh one in."""
        (context, frames), (_, predicted) = self._split(latents), self._split(prediction)
        now, then = (self._shaped(part, latents) for part in (self.levels.sigmas[:-1], self.levels.sigmas[1:]))
        now, then = now.flip(self.axis), then.flip(self.axis)
        clean = self.levels.clean(frames, predicted, now)
        moved = clean + then / now * (frames - clean)
        self._estimate = torch.cat([context, clean], self.axis)
        self._give_away(moved.narrow(self.axis, 0, 1))
        if self.turn == self.total:
            return torch.cat(self._made, self.axis).to(latents.device)
        return torch.cat([context, moved, self._draw(1).to(moved)], self.axis).narrow(
            self.axis, 1, self.queue.context + self.queue.steps
        )

    def _give_away(self, frame: Tensor) -> None:
        if self._drop:
            self._drop -= 1
        else:
            self._made.append(frame.clone().cpu())  # a view would keep the whole queue

    def _split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The clean frames of the queue, and the others."""
        context, frames = latents.split([self.queue.context, self.queue.steps], self.axis)
        return context, frames

    def _shaped(self, sigmas: Tensor, latents: Tensor) -> Tensor:
        """Levels of frames, so that they broadcast to latents; in the solver's own precision."""
        shape = [1] * latents.ndim
        shape[self.axis] = -1
        return sigmas.to(latents.device).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class DiagonalPlan:
    """Diagonal denoising as a plan for any number of videos."""

    window: int
    """Latent frames that one forward sees."""
    lookahead: bool
    name: str = "fifo"

    def first_frames(self, frames: int) -> int:
        """Return with how many latent frames the loop begins that makes a video of ``frames``."""
        return min(frames, self.window)

    def begin(self, levels: Levels, frames: int, axis: int, draw: Draw) -> DiagonalTurns | None:
        """Begin a video of ``frames`` latent frames; None where it fits into one window, and nothing is to change."""
        if frames <= self.window:
            return None
        queue = Queue(steps=levels.steps, window=self.window, lookahead=self.lookahead)
        return DiagonalTurns(queue, levels, frames, axis, draw)
