"""The model in a turn: parts of the latents, each frame with a timestep of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genkit.attention.calls.call import Step
from genkit.attention.facts.card import Card
from genkit.attention.geometry.windows import Window
from genkit.attention.model.forward import arguments_of
from genkit.attention.model.frames import latents_of
from genkit.attention.model.hooks import Passage
from genkit.attention.model.session import Session
from genkit.plugins.contract import Denoise, TurnPlan, Turns

LONG = 2**31
"""Latent frames of a video that no model sees at once."""
Now = Callable[[], Turns | None]
"""Returns the run that is going on; None where there is none, or it is a plain one."""


def framed(latents: Tensor, card: Card, frames: int) -> Tensor:
    """Return latents with their frames along an axis of their own, and the inside of a frame along the next one."""
    return latents.unflatten(_axis(card), (frames, -1))


def unframed(latents: Tensor, card: Card) -> Tensor:
    """Return latents as the pipeline has them."""
    return latents.flatten(_axis(card), _axis(card) + 1)


@dataclass(frozen=True)
class TurnForwards:
    """The forward rule of a plan of turns: each call of the model becomes the forwards of the turn."""

    plan: TurnPlan
    now: Now

    @property
    def name(self) -> str:
        """Name of the plug-in."""
        return self.plan.name

    @property
    def max_frames(self) -> int | None:
        """Latent frames that one forward has at most; None: as many as the video."""
        frames = self.plan.first_frames(LONG)
        return None if frames == LONG else frames

    def note(self, frames: int) -> str | None:
        """Return None: the seam of turns says it."""
        return None

    def wrap(self, denoise: Denoise) -> Denoise:
        """Return a denoiser that answers 0 for the frames at the head that no forward of the turn is asked for."""

        def of_turn(latents: Tensor, step: Step, window: Window) -> Tensor:
            turns = self.now()
            if turns is None:
                return denoise(latents, step, window)
            answers = []
            for forward in turns.forwards():
                seen = Window(forward.begin, forward.end, window.frames)
                part = latents if seen.is_whole else latents[:, forward.begin : forward.end]
                answers.append(denoise(part, step, seen)[:, forward.keep - forward.begin :])
            joined = torch.cat(answers, 1)
            head = joined.new_zeros(len(joined), window.frames - joined.shape[1], *joined.shape[2:])
            return torch.cat([head, joined], 1)

        return of_turn


def timestep_passage(session: Session, component: str, now: Now) -> Passage:
    """Give a model the timesteps of the turn's frames, one for each token, ahead of all that forward rules do."""
    model, called = session.models[component], getattr(session.pipe, component)

    def through(inner: Any, *args: Any, **kwargs: Any) -> Any:
        turns = now()
        if turns is None or session.foreign or session.trying or session.inside:
            return inner(*args, **kwargs)
        arguments = arguments_of(model, args, kwargs)
        if "num_frames" in arguments:
            arguments["num_frames"] = turns.latent_frames
        if (of_frames := turns.frame_timesteps()) is not None:
            latents, (_, rows, cols) = latents_of(arguments), session.facts_of(model).volume(model, arguments)
            of_tokens = of_frames.to(latents.device).repeat_interleave(rows * cols)
            arguments["timestep"] = of_tokens[None].expand(len(latents), -1)
        return inner(**arguments)

    return Passage(called, through)


def _axis(card: Card) -> int:
    return 1 if card.main.frame_axis is None else card.main.frame_axis
