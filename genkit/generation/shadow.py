"""A method of one object, replaced for a while by a wrapper of the same signature; the class is never touched."""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from genkit.attention.model.callers import nearest_pipeline

Wrapper = Callable[[Callable[..., Any], inspect.BoundArguments], Any]
"""A function of the original method and the arguments of a call; returns what the call returns."""


class Shadow:
    """One replaced method of one pipeline; a copy of the pipeline has its own method instead.

    ``target`` may also be a part that pipelines share; only calls by the pipeline ``owner`` go through the wrapper.
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
        """Restore what was there before; a wrapper that was put over this one since stays."""
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
        """Return the shadow that covers this one directly, or None."""
        upper = self.target.__dict__.get(self.method)
        while isinstance(upper, Shadow) and upper.covered is not self:
            upper = upper.covered
        return upper if isinstance(upper, Shadow) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.original, memo)

    def __reduce__(self) -> Any:
        return self.original.__reduce_ex__(4)
