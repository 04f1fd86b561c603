"""Position of the sampler in one forward of a model: solver step, noise level, share of the schedule."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.call import Step
from genkit.attention.model.forward import Context

BATCHED = ("uncond", "cond", "perturbed")
"""Guidance branches of one batch, in order; the third is that of perturbed-attention guidance."""
ROUNDING = 2**-7
"""Relative error of a timestep that a pipeline passes to its model in bfloat16."""


def step_at(
    scheduler: Any,
    context: Context | None,
    timestep: Any,
    frames: int,
    *,
    parts: int = 1,
    ascending: bool = False,
    last: float | None = None,
    unnamed: str = "cond",
) -> Step:
    """Return the solver step of a forward over ``frames`` latent frames.

    ``timestep`` is the model's argument: one number for each video, latent frame or token. ``parts``: guidance
    branches in the batch, uncond first; ``ascending``: sigmas rise from 0 to 1 as the noise decreases; ``last``: the
    timestep of the finished video, if it is not 0 or, where sigmas rise, the largest; ``unnamed``: the guidance branch
    of a forward without a name.
    """
    name, facts = context or (unnamed, {})
    index = facts.get("step_index")
    if index is None:
        index = _scheduler_index(scheduler, timestep)
    schedule, total = schedule_of(scheduler), len(scheduler.timesteps)
    number = index if len(schedule) == total else total  # a turn is not a step of a frame
    step = Step(
        index=index,
        total=total,
        branches=(branch_of(name),) if parts == 1 else BATCHED[:parts],
        frame_progress=_frame_progress(
            timestep, schedule, frames, number, _end(scheduler, ascending) if last is None else last
        ),
    )
    return replace(step, sigma=sigma_at(scheduler, ascending, _reached(scheduler, step)))


def branch_of(name: str) -> str:
    """Return the guidance branch of a ``cache_context``: ``cond``, ``uncond``, or another name as it is."""
    name = name.removeprefix("pred_")
    return "cond" if name == "cond_uncond" else name


def timestep_at(scheduler: Any, step: Step) -> float:
    """Return the timestep of the schedule that the noisiest frame of a forward has reached."""
    return float(schedule_of(scheduler)[_reached(scheduler, step)])


def _reached(scheduler: Any, step: Step) -> int:
    """Index of the schedule's step that the noisiest frame has reached."""
    if step.frame_progress is None:
        return step.index
    steps = len(schedule_of(scheduler))
    return min(int(round(step.progress * steps, 6)), steps - 1)


def schedule_of(scheduler: Any) -> Tensor:
    """Return the timesteps of one frame, from noise to the finished video.

    They are ``scheduler.frame_timesteps`` if its loop has more turns than a frame has steps, else
    ``scheduler.timesteps``.
    """
    found: Tensor = getattr(scheduler, "frame_timesteps", scheduler.timesteps)
    return found


def sigma_at(scheduler: Any, ascending: bool, index: int) -> float | None:
    """Return the noise level of a step in [0, 1]; None if the scheduler's sigmas mean something else."""
    if hasattr(scheduler, "sigmas") and index < len(scheduler.sigmas):
        sigma = float(scheduler.sigmas[index])
        sigma = 1 - sigma if ascending else sigma
        return sigma if 0 <= sigma <= 1 else None
    if hasattr(scheduler, "alphas_cumprod") and index < len(scheduler.timesteps):
        return float((1 - scheduler.alphas_cumprod[int(scheduler.timesteps[index])]).sqrt())
    return None


def progress_of(levels: Tensor, schedule: Tensor, end: float = 0.0) -> Tensor:
    """Return the completed share of ``schedule`` at noise levels given as timesteps; float64, shaped like ``levels``.

    It is ``i / n`` at timestep ``i`` of ``n``, 1 at ``end`` (the finished video), interpolated in between, and 0 or 1
    beyond the ends. ``schedule`` falls or rises towards ``end``.
    """
    sign = 1.0 if end > float(schedule[0]) else -1.0
    knots = sign * torch.cat([schedule.double().cpu(), torch.tensor([end], dtype=torch.float64)])
    found = sign * levels.double().cpu()
    before = (torch.searchsorted(knots, found.contiguous(), right=True) - 1).clamp(0, len(schedule) - 1)
    width = knots[before + 1] - knots[before]
    part = ((found - knots[before]) / width.where(width > 0, 1)).clamp(0, 1)
    return (before + part) / len(schedule)


def _frame_progress(timestep: Any, schedule: Tensor, frames: int, index: int, end: float) -> Tensor | None:
    """``Step.frame_progress`` of a model that was given ``timestep``."""
    if timestep is None:
        return None
    given = torch.as_tensor(timestep).detach().double().cpu()
    lowest, highest = float(given.min()), float(given.max())
    usual = float(schedule[index]) if index < len(schedule) else None
    if usual is not None and max(abs(lowest - usual), abs(highest - usual)) <= ROUNDING * abs(usual):
        return None
    if not _is_monotone(schedule, end) or not _is_within(lowest, highest, schedule, end):
        return None  # the model's timesteps are on another scale
    of_token = progress_of(given, schedule, end)
    if lowest == highest or given.ndim < 2 or given[0].numel() % frames:
        return of_token.min()[None]
    return of_token.reshape(len(given), frames, -1).amin((0, 2))


def _is_monotone(schedule: Tensor, end: float) -> bool:
    knots = [*schedule.tolist(), end]
    sign = 1 if end > knots[0] else -1
    return all(sign * (after - before) >= 0 for before, after in pairwise(knots))


def _is_within(lowest: float, highest: float, schedule: Tensor, end: float) -> bool:
    below, above = sorted((float(schedule[0]), end))
    margin = ROUNDING * max(abs(below), abs(above))
    return below - margin <= lowest and highest <= above + margin


def _end(scheduler: Any, ascending: bool) -> float:
    """Timestep of the finished video."""
    return float(getattr(scheduler.config, "num_train_timesteps", 1000)) if ascending else 0.0


def _scheduler_index(scheduler: Any, timestep: Any) -> int:
    """Solver step, from the scheduler's own counter or by looking up its timestep."""
    counted = getattr(scheduler, "step_index", None)
    if counted is not None or timestep is None:
        return int(counted or 0)
    now = torch.as_tensor(timestep).flatten().to(scheduler.timesteps.device)
    same = torch.isin(scheduler.timesteps, now).nonzero().flatten()  # the noisiest frame, where each has its own
    return int(same[0]) if len(same) else 0
