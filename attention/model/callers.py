"""The pipeline whose call is running, found on the stack, so that exceptions and other threads do not matter."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

PIPELINES = {"DiffusionPipeline", "ModularPipeline"}
"""Names of diffusers' pipeline classes."""


def nearest_pipeline() -> Any:
    """Return the innermost pipeline whose method runs in this thread; None if there is none."""
    found = (owner for owner in _owners(sys._getframe(1)) if _is_pipeline(owner))
    return next(found, None)


def works_for(thread: int, *owners: Any) -> bool:
    """Return True if a method of one of ``owners`` runs in a thread, given by its ``threading.get_ident()``."""
    frame = sys._current_frames().get(thread)
    return any(any(owner is one for one in owners) for owner in _owners(frame))


def is_called(thread: int, pipe: Any) -> bool:
    """Return True if ``pipe(...)`` runs in a thread, given by its ``threading.get_ident()``."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_name == "__call__" and frame.f_locals.get("self") is pipe:
            return True
        frame = frame.f_back
    return False


def local_of_call(pipe: Any, name: str) -> Any:
    """Return a local variable of a pipeline's ``__call__`` that runs in this thread; None if there is none.

    A modular pipeline has the values of a call in its state.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__call__" and frame.f_locals.get("self") is pipe:
            values = getattr(frame.f_locals.get("state"), "values", None)
            return frame.f_locals.get(name, values.get(name) if isinstance(values, dict) else None)
        frame = frame.f_back
    return None


def _owners(frame: FrameType | None) -> Iterator[Any]:
    """``self`` of every method on a stack, from the innermost."""
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",):
            yield frame.f_locals.get("self")
        frame = frame.f_back


def _is_pipeline(owner: Any) -> bool:
    return not PIPELINES.isdisjoint(kind.__name__ for kind in type(owner).__mro__)
