"""The pipeline's step callback: first the caller's own, then ours, which watches the result."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import BoundArguments
from itertools import count
from typing import Any

from torch import Tensor

from genkit.checks.arguments import arguments_of
from genkit.checks.options import to_json
from genkit.checks.values import quote
from genkit.errors import UsageError
from genkit.generation.shadow import Shadow
from genkit.generation.watch import Watch

MODERN, INPUTS, OLD, EVERY = "callback_on_step_end", "callback_on_step_end_tensor_inputs", "callback", "callback_steps"


def chained(pipe: Any, watch: Watch, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that make a pipeline call the callback in ``arguments``, if there is one, and then ours.

    None for a pipeline that takes no callback; see ``steps_watched``.

    The caller's callback acts as in a plain call of the pipeline: what it returns is used, what it raises is raised.
    """
    if MODERN in arguments_of(pipe):
        return _modern(watch, arguments)
    if OLD not in arguments_of(pipe):
        return {}
    theirs, every = arguments.get(OLD), arguments.get(EVERY, 1)

    def at_end(index: int, timestep: Any, latents: Tensor) -> None:
        if theirs is not None and index % every == 0:
            watch.calling(theirs, index, timestep, latents)
        watch.after_step(pipe, index, latents)

    return {OLD: at_end, EVERY: 1}


@contextmanager
def steps_watched(pipe: Any, watch: Watch) -> Iterator[None]:
    """Report each solver step inside the block if the pipeline takes no callback."""
    if not {MODERN, OLD}.isdisjoint(arguments_of(pipe)):
        yield
        return
    numbers = count()

    def stepped(original: Callable[..., Any], bound: BoundArguments) -> Any:
        made = original(*bound.args, **bound.kwargs)
        watch.after_step(pipe, next(numbers), made[0])
        return made

    shadow = Shadow(pipe.scheduler, "step", stepped, owner=pipe)
    try:
        yield
    finally:
        shadow.remove()


def _modern(watch: Watch, arguments: Mapping[str, Any]) -> dict[str, Any]:
    theirs = arguments.get(MODERN)
    inputs = getattr(theirs, "tensor_inputs", None) or arguments.get(INPUTS) or ["latents"]

    def at_end(pipe: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if theirs is not None:
            asked = {name: tensors[name] for name in inputs}
            changed = _changed(theirs, watch.calling(theirs, pipe, index, timestep, asked), tensors["latents"])
        watch.after_step(pipe, index, changed.get("latents", tensors["latents"]))
        return changed

    return {MODERN: at_end, INPUTS: list(dict.fromkeys([*inputs, "latents"]))}


def _changed(theirs: Callable[..., Any], returned: Any, latents: Tensor) -> dict[str, Any]:
    """Return the tensors that a callback returned; none if it returned None."""
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise UsageError(
            f"{to_json(MODERN, theirs)} returned {quote(returned)}; return a dict of the tensors it changed"
        )
    new = returned.get("latents", latents)
    if not isinstance(new, Tensor) or new.shape != latents.shape:
        raise UsageError(
            f"{to_json(MODERN, theirs)} returned latents={quote(new)}; they must keep their shape {list(latents.shape)}"
        )
    return dict(returned)
