"""The seams of a pipeline. A new one is an installer here and its line in ``SEAMS``."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.facts.card import Card
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.session import Session
from genkit.errors import UsageError
from genkit.generation.asked import Asked, begin_record
from genkit.generation.context import Context
from genkit.generation.decode_seam import decode_seam
from genkit.generation.models.forward import ForwardSeam
from genkit.generation.shadow import Shadow
from genkit.plugins.contract import NoisePlan

CHECK = "check_inputs"
"""Method that pipelines call once, at the beginning of a call."""


class Installed(Protocol):
    """A seam that is in a pipeline."""

    def remove(self) -> None:
        """Restore what was there before."""
        ...


class Seam(Installed, Protocol):
    """A seam that can be in a pipeline."""

    def install(self) -> None:
        """Enter the pipeline; raises ``UsageError`` or ``LookupError`` where that is impossible."""
        ...


Installer = Callable[[Context, Asked], Installed | None]
"""Installs one seam completely or raises; None if no plug-in uses it."""


def _positions(context: Context, asked: Asked) -> Installed | None:
    return _entered(context.positions)


def _cache(context: Context, asked: Asked) -> Installed | None:
    return _entered(context.cache)


def _turns(context: Context, asked: Asked) -> Installed | None:
    return _entered(context.turns)


def _entered(seam: Seam | None) -> Seam | None:
    """Install a seam; if that fails halfway, remove it again."""
    if seam is None:
        return None
    try:
        seam.install()
    except BaseException:
        seam.remove()
        raise
    return seam


def _forward(context: Context, asked: Asked) -> Installed | None:
    rules = [*context.forwards, *([context.turns.forwards] if context.turns else [])]
    return ForwardSeam(context.session, rules) if rules else None


def _begin(context: Context, asked: Asked) -> Installed | None:
    """Begin each run where the pipeline checks its inputs, once a call; without such a check the noise seam does."""
    if not hasattr(context.pipe, CHECK):
        return None

    def checked(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        asked.begin(context.session)
        asked.owner.begin_call()
        return original(*bound.args, **bound.kwargs)

    return Shadow(context.pipe, CHECK, checked)


def _noise(context: Context, asked: Asked) -> Installed:
    """Record the batch size, apply the noise plan to the initial latents, and empty the step cache.

    A pipeline that makes a video section by section draws latents for each.
    """
    session, plan, cache = context.session, context.noise, context.cache

    def prepared(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        if not hasattr(context.pipe, CHECK):
            asked.begin(session)
            asked.owner.begin_call()
        if cache is not None:
            cache.reset()
        _count_part(context)
        latents, *others = _as_tuple(made := original(*bound.args, **bound.kwargs))
        session.batch = latents.shape[0]
        if plan is None:
            return made
        session.run.came[plan.name, "noise"] += 1
        if bound.arguments.get("latents") is not None:
            session.run.note(f"{plan.name}: latents were given, so their noise was left as it is")
            return made
        _check_given(plan, context.card, bound.arguments)
        planned = _planned(latents, plan, session, bound.arguments)
        return (planned, *others) if isinstance(made, tuple) else planned

    return Shadow(context.pipe, "prepare_latents", prepared)


def _check_given(plan: NoisePlan, card: Card, arguments: dict[str, Any]) -> None:
    """Raise ``UsageError`` if a plan would move what the caller gave, in the first latents of this run."""
    if given := [name for name in card.given_by if arguments.get(name) is not None]:
        raise UsageError(
            f"{plan.name} changes the first latents of {card.title}, which contain the {given[0]} that was given; "
            f"leave out {given[0]} or {plan.name}"
        )


def _end(context: Context, asked: Asked) -> Installed:
    """End each run: check that every plug-in took part."""
    pipe = context.pipe

    def ended(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        out = original(*bound.args, **bound.kwargs)
        if nearest_pipeline() is pipe:  # users may also call this method themselves
            asked.end(context.session)
            asked.owner.end_call()
        return out

    return Shadow(pipe, "maybe_free_model_hooks", ended)


def _decode(context: Context, asked: Asked) -> Installed | None:
    return decode_seam(context.pipe, context.session, context.decoding) if context.decoding else None


def _text(context: Context, asked: Asked) -> Installed | None:
    """Encode the text of each event separately and join the results along the token axis."""
    session, plan = context.session, context.text
    if plan is None:
        return None
    if context.card.prompts is None:
        raise UsageError(
            f"{plan.name} joins the encoded texts of events, and it is not known where in the answer of this "
            f"{type(context.pipe).__name__} they stand, or its model cuts them at a fixed place; leave {plan.name} out"
        )

    def encoded(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        begin_record(session)
        run, prompt = session.run, bound.arguments.get("prompt")
        run.came[plan.name, "text"] += 1
        known, run.events = run.events, None
        if not isinstance(prompt, str):
            run.note(f"{plan.name}: only a single prompt can contain events; this call was left unchanged")
            return original(*bound.args, **bound.kwargs)
        run.events = plan.read(prompt) if known is None or known.prompt != prompt else known
        results = []
        for text in run.events.texts:
            bound.arguments["prompt"] = text
            results.append(original(*bound.args, **bound.kwargs))
        return tuple(_joined(parts, number, session) for number, parts in enumerate(zip(*results, strict=True)))

    return Shadow(context.pipe, "encode_prompt", encoded)


def _count_part(context: Context) -> None:
    """Count a part of the video; in a second one the seconds of a prompt's events would begin again.

    Raises:
        UsageError: a plug-in divides the prompt over time, and the pipeline makes the video in parts.
    """
    run, text = context.session.run, context.text
    run.parts += 1
    if text is not None and run.parts > 1:
        raise UsageError(
            f"{text.name}: {context.card.title} makes this video in parts, and each part would show all events; make "
            f"it short enough for one part, or leave {text.name} out"
        )


SEAMS: tuple[Installer, ...] = (
    _positions,
    _cache,
    _forward,
    _begin,
    _noise,
    _end,
    _turns,
    _decode,
    _text,
)
"""All seams, in the order of installation: of two that replace one method, the later is called first."""


def _as_tuple(made: Any) -> tuple[Any, ...]:
    """Return the latents, and what some pipelines make with them: masks, latents of an image."""
    return made if isinstance(made, tuple) else (made,)


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
    given, noise = frames.tensor_split([card.given_frames], dim=axis)
    return torch.cat([given, plan.plan(noise, axis, generator)], axis).flatten(axis, axis + 1)


def _joined(parts: tuple[Any, ...], number: int, session: Session) -> Any:
    """Join one output of all encodings; a negative text with its own forward is needed only once."""
    if not isinstance(parts[0], Tensor) or parts[0].ndim < 2:
        return parts[0]
    negative = number > 0 and session.card.branches != "halves"
    return parts[0] if negative else torch.cat(parts, dim=1)
