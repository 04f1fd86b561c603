"""Initial latents: each part of a video begins with them, and a noise plan changes them."""

from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.card import Card
from genkit.attention.facts.made import frames_of_video
from genkit.attention.model.callers import local_of_call
from genkit.attention.model.session import Session
from genkit.checks.arguments import arguments_of
from genkit.errors import UsageError
from genkit.generation.context import Context
from genkit.plugins.contract import NoisePlan, TextPlan


def begin_part(context: Context) -> None:
    """Begin a part of the video: empty the step cache, and count the part.

    In a second one the seconds of a prompt's events would begin again.

    Raises:
        UsageError: a plug-in divides the prompt over time, and the pipeline makes the video in parts.
    """
    if context.cache is not None:
        context.cache.reset()
    run, text = context.session.run, context.text
    run.parts += 1
    if text is not None and run.parts > 1:
        _refuse_parts(context, text)


def check_parts_of_video(context: Context) -> None:
    """Refuse a call, before its first step, that makes its video in parts if a plug-in divides the prompt over time.

    Raises:
        UsageError: it does; those whose number is known only later are refused where the second part begins.
    """
    pipe, card = context.pipe, context.card
    if context.text is None:
        return
    arguments = {name: local_of_call(pipe, name) for name in arguments_of(pipe)}
    frames = arguments.get(card.length_argument or "")
    if card.length_from is not None and arguments[card.length_from] is not None:
        frames = frames_of_video(arguments[card.length_from])
    if frames is not None and card.parts(pipe, arguments, frames) > 1:
        _refuse_parts(context, context.text)


def _refuse_parts(context: Context, text: TextPlan) -> None:
    raise UsageError(
        f"{text.name}: {context.card.title} makes this video in parts, and each part would show all events; make it "
        f"short enough for one part, or leave {text.name} out"
    )


def noise_for(context: Context, latents: Tensor, arguments: dict[str, Any]) -> Tensor:
    """Return the initial latents that a run begins with, and record the batch.

    Args:
        context: the pipeline and its plug-ins.
        latents: as the pipeline has drawn them.
        arguments: of the method or block that drew them; ``latents`` is not None if the caller gave them.
    """
    session, plan = context.session, context.noise
    session.batch = latents.shape[0] if latents.ndim > 2 else 1  # the rows of one video
    if plan is None:
        return latents
    session.run.came[plan.name, "noise"] += 1
    if arguments.get("latents") is not None:
        session.run.note(f"{plan.name}: latents were given, so their noise was left as it is")
        return latents
    _check_given(plan, context.card, arguments)
    return _planned(latents, plan, session, arguments)


def _check_given(plan: NoisePlan, card: Card, arguments: dict[str, Any]) -> None:
    """Raise ``UsageError`` if a plan would move what the caller gave, in the first latents of this run."""
    if given := [name for name in card.given_by if arguments.get(name) is not None]:
        raise UsageError(
            f"{plan.name} changes the first latents of {card.title}, which contain the {given[0]} that was given; "
            f"leave out {given[0]} or {plan.name}"
        )


def _planned(latents: Tensor, plan: NoisePlan, session: Session, arguments: dict[str, Any]) -> Tensor:
    """Apply a noise plan, counting as attention does: latent frames that share a token stay together."""
    generator = arguments.get("generator")
    if isinstance(generator, list):  # one for each video, which equals the one made with it alone
        given = zip(latents.split(1), generator, strict=True)
        return torch.cat([_planned(one, plan, session, arguments | {"generator": its}) for one, its in given])
    if (channels := session.card.channel_axis) is not None and "num_channels_latents" in arguments:
        noise = latents.narrow(channels, 0, arguments["num_channels_latents"])
        if noise.shape != latents.shape:
            others = latents.narrow(channels, noise.shape[channels], latents.shape[channels] - noise.shape[channels])
            return torch.cat([_planned(noise, plan, session, arguments), others], channels)
    card = session.card
    axis = card.main.frame_axis if card.noise_axis is None else card.noise_axis
    if axis is None:
        axis, shape = 1, (card.token_frames(session.pipe, arguments["num_frames"]), -1)
    else:
        shape = (-1, card.time_patch(session.pipe))
    frames = latents.unflatten(axis, shape)
    given, noise = frames.tensor_split([card.given_frames + card.noise_lead(session.pipe)], dim=axis)
    return torch.cat([given, plan.plan(noise, axis, generator)], axis).flatten(axis, axis + 1)
