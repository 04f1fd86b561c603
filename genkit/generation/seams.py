"""The seams of a pipeline. A new one is an installer here and its line in ``SEAMS``."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from genkit.attention.facts.call import is_modular
from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.session import Session
from genkit.errors import UsageError
from genkit.generation.asked import Asked, Installed, begin_record
from genkit.generation.blocks.seams import call_seam, noise_seam, text_seam
from genkit.generation.context import Context
from genkit.generation.decode_seam import decode_seam
from genkit.generation.models.forward import ForwardSeam
from genkit.generation.shadow import Shadow
from genkit.generation.start.noise import begin_part, check_parts_of_video, noise_for
from genkit.generation.start.prompts import events_of

CHECK = "check_inputs"
"""Method that pipelines call once, at the beginning of a call."""


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
    """Begin each run where the pipeline checks its inputs, once a call; without such a check the noise seam does.

    A pipeline made of blocks begins and ends its runs where they are called.
    """
    if is_modular(context.pipe):
        return call_seam(context, asked)
    if not hasattr(context.pipe, CHECK):
        return None

    def checked(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        asked.begin(context.session)
        asked.owner.begin_call()
        check_parts_of_video(context)
        return original(*bound.args, **bound.kwargs)

    return Shadow(context.pipe, CHECK, checked)


def _noise(context: Context, asked: Asked) -> Installed:
    """Begin each part of the video where the pipeline draws its latents, and apply the noise plan to them.

    A pipeline that makes a video section by section draws latents for each.
    """
    if is_modular(context.pipe):
        return noise_seam(context)

    def prepared(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        if not hasattr(context.pipe, CHECK):
            asked.begin(context.session)
            asked.owner.begin_call()
        begin_part(context)
        latents, *others = _as_tuple(made := original(*bound.args, **bound.kwargs))
        planned = noise_for(context, latents, bound.arguments)
        return (planned, *others) if isinstance(made, tuple) else planned

    return Shadow(context.pipe, "prepare_latents", prepared)


def _end(context: Context, asked: Asked) -> Installed | None:
    """End each run: check that every plug-in took part."""
    if is_modular(pipe := context.pipe):
        return None

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
    if is_modular(context.pipe):
        return text_seam(context, plan)

    def encoded(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        begin_record(session)
        events = events_of(session, plan, bound.arguments.get("prompt"))
        if events is None:
            return original(*bound.args, **bound.kwargs)
        results = []
        for text in events.texts:
            bound.arguments["prompt"] = text
            results.append(original(*bound.args, **bound.kwargs))
        return tuple(_joined(parts, number, session) for number, parts in enumerate(zip(*results, strict=True)))

    return Shadow(context.pipe, "encode_prompt", encoded)


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


def _joined(parts: tuple[Any, ...], number: int, session: Session) -> Any:
    """Join one output of all encodings; a negative text with its own forward is needed only once."""
    if not isinstance(parts[0], Tensor) or parts[0].ndim < 2:
        return parts[0]
    negative = number > 0 and session.card.branches != "halves"
    return parts[0] if negative else torch.cat(parts, dim=1)
