"""The seams of a pipeline that lie outside its models: how it draws noise and how it encodes text.

A method of one pipeline object is shadowed by a wrapper of the same signature, and the shadow is taken away again; the
class is never touched.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genkit.attention.run import Run
from genkit.attention.session import Session
from genkit.plugin import NoisePlan, TextPlan
from genkit.step_cache import StepCache


class Shadow:
    """One method of one object, replaced for a while."""

    def __init__(self, target: Any, method: str, wrapper: Callable[..., Any]) -> None:
        self.target, self.method = target, method
        original = getattr(target, method)
        signature = inspect.signature(original)

        @functools.wraps(original)
        def shadowing(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return wrapper(original, bound)

        target.__dict__[method] = shadowing

    def remove(self) -> None:
        """Uncover the class's own method."""
        self.target.__dict__.pop(self.method, None)


def noise_seam(pipe: Any, session: Session, plan: NoisePlan | None, cache: StepCache | None) -> Shadow:
    """Learn the batch size from the initial latents, let ``plan`` reorder their frames, and empty the step cache."""

    def prepared(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        if session.run.routed:  # the pipeline is called directly, and again: nothing of the last video may stay
            session.run = Run(state={key: kept for key, kept in session.run.state.items() if isinstance(key, str)})
        if cache is not None:
            cache.reset()
        latents = original(*bound.args, **bound.kwargs)
        session.batch = latents.shape[0]
        if plan is None:
            return latents
        if bound.arguments.get("latents") is not None:
            session.run.note(f"{plan.name}: latents were given, so their noise was left as it is")
            return latents
        return _planned(latents, plan, session, bound.arguments)

    return Shadow(pipe, "prepare_latents", prepared)


def _planned(latents: Tensor, plan: NoisePlan, session: Session, arguments: dict[str, Any]) -> Tensor:
    """Latent frames that share a token stay together: a plan counts in the frames that attention sees."""
    generator = arguments.get("generator")
    if isinstance(generator, list):  # each video has its own, and is the one that is made with it alone
        given = zip(latents.split(1), generator, strict=True)
        return torch.cat([_planned(one, plan, session, arguments | {"generator": its}) for one, its in given])
    card, axis = session.card, session.card.latent_frame_axis
    if axis is None:
        axis, shape = 1, (card.token_frames(session.pipe, arguments["num_frames"]), -1)
    else:
        shape = (-1, card.time_patch(session.pipe))
    return plan.plan(latents.unflatten(axis, shape), axis, generator).flatten(axis, axis + 1)


def text_seam(pipe: Any, session: Session, plan: TextPlan) -> Shadow:
    """Encode each event's text by itself and put the results one after the other along the token axis."""

    def encoded(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        prompt = session.run.state.get("prompt", bound.arguments.get("prompt"))
        if not isinstance(bound.arguments.get("prompt"), str):
            session.run.note(f"{plan.name}: only a single prompt can hold events; this call was left as it is")
            return original(*bound.args, **bound.kwargs)
        session.run.state["timeline"] = functools.partial(plan.spans, prompt)
        results = []
        for text in plan.split(prompt):
            bound.arguments["prompt"] = text
            results.append(original(*bound.args, **bound.kwargs))
        return tuple(_joined(parts, number, session) for number, parts in enumerate(zip(*results, strict=True)))

    return Shadow(pipe, "encode_prompt", encoded)


def _joined(parts: tuple[Any, ...], number: int, session: Session) -> Any:
    """One output of all encodings; the negative text needs no copies where it has a forward of its own."""
    if not isinstance(parts[0], Tensor) or parts[0].ndim < 2:
        return parts[0]
    negative = number > 0 and not session.card.batched_guidance
    return parts[0] if negative else torch.cat(parts, dim=1)
