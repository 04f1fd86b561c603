"""The seams of a pipeline that lie outside its models: how it draws noise and how it encodes text.

A method of one pipeline object is shadowed by a wrapper of the same signature, and the shadow is taken away again; the
class is never touched.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genkit.attention.model.callers import nearest_pipeline
from genkit.attention.model.session import Session
from genkit.generation.asked import Asked, begin_record
from genkit.plugins.caches.step_cache import StepCache
from genkit.plugins.contract import NoisePlan, TextPlan

Wrapper = Callable[[Callable[..., Any], inspect.BoundArguments], Any]
"""Given the method that is shadowed and the arguments of a call; gives what the call returns."""


class Shadow:
    """One method of one pipeline, replaced for a while; a copy of the pipeline has its own method instead.

    ``target`` may also be a part that pipelines share: ``owner`` is the pipeline whose calls go through the wrapper.
    """

    def __init__(self, target: Any, method: str, wrapper: Wrapper, owner: Any = None) -> None:
        self.target, self.method = target, method
        self.owner = target if owner is None else owner
        self.covered = target.__dict__.get(method)
        self.original: Callable[..., Any] = getattr(target, method)
        self.wrapper: Wrapper | None = wrapper
        functools.update_wrapper(self, self.original, updated=())
        target.__dict__[method] = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.wrapper is None or nearest_pipeline() not in (None, self.owner):
            return self.original(*args, **kwargs)
        bound = inspect.signature(self.original).bind(*args, **kwargs)
        bound.apply_defaults()
        return self.wrapper(self.original, bound)

    def remove(self) -> None:
        """Uncover the target's own method, or leave what was put over it since, over what was below."""
        self.wrapper = None
        above = self._above()
        if above is not None:
            above.covered, above.original = self.covered, self.original
        if self.target.__dict__.get(self.method) is not self:
            return
        del self.target.__dict__[self.method]
        if self.covered is not None:
            self.target.__dict__[self.method] = self.covered

    def _above(self) -> "Shadow | None":
        """Return the shadow that lies right over this one; None where none does."""
        upper = self.target.__dict__.get(self.method)
        while isinstance(upper, Shadow) and upper.covered is not self:
            upper = upper.covered
        return upper if isinstance(upper, Shadow) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.original, memo)

    def __reduce__(self) -> Any:
        return self.original.__reduce_ex__(4)


def begin_seam(pipe: Any, session: Session, asked: Asked, plan: NoisePlan | None, cache: StepCache | None) -> Shadow:
    """Learn the batch size from the initial latents, let ``plan`` reorder their frames, and empty the step cache."""

    def prepared(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        asked.begin(session)
        if cache is not None:
            cache.reset()
        latents = original(*bound.args, **bound.kwargs)
        session.batch = latents.shape[0]
        if plan is None:
            return latents
        session.run.came[plan.name, "noise"] += 1
        if bound.arguments.get("latents") is not None:
            session.run.note(f"{plan.name}: latents were given, so their noise was left as it is")
            return latents
        return _planned(latents, plan, session, bound.arguments)

    return Shadow(pipe, "prepare_latents", prepared)


def end_seam(pipe: Any, session: Session, asked: Asked) -> Shadow:
    """After the last step of a call, what was asked for must have been there."""

    def ended(original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        out = original(*bound.args, **bound.kwargs)
        if nearest_pipeline() is pipe:  # a user may free the models by hand, too
            asked.end(session)
        return out

    return Shadow(pipe, "maybe_free_model_hooks", ended)


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
        begin_record(session)
        run, prompt = session.run, bound.arguments.get("prompt")
        run.came[plan.name, "text"] += 1
        known, run.events = run.events, None
        if not isinstance(prompt, str):
            run.note(f"{plan.name}: only a single prompt can hold events; this call was left as it is")
            return original(*bound.args, **bound.kwargs)
        run.events = plan.read(prompt) if known is None or known.prompt != prompt else known
        results = []
        for text in run.events.texts:
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
