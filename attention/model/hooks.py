"""Hooks that can be removed without a trace, also if others add or remove theirs in the meantime.

Begin and end of a model's forward are plain torch hooks. An attention module's forward is replaced on the instance;
accelerate and diffusers do the same, above and below, and may remove theirs at any time. A copy or pickle of a module
contains none of these hooks.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from genkit.attention.model.forward import Forward
from genkit.attention.private import (
    INNER_FORWARD,
    OFFLOADED_FORWARD,
    REFERENCES,
    REGISTRY,
    context_parallel,
    hooks_on,
)

EAGER = (
    "plug-ins compute attention outside of the compiled graph, so it has a break at each attention layer; compile "
    "without fullgraph=True while plug-ins are in"
)
"""Reason that torch.compile reports where it must not have such a break."""

Through = Callable[..., Any]
"""Called with the original forward and its arguments; returns the output."""


class Watcher(Protocol):
    """Observer of each forward of a model."""

    def begin(self, forward: Forward) -> None:
        """Run before the model's first layer."""
        ...

    def end(self, forward: Forward) -> None:
        """Run after the model's last layer."""
        ...


@dataclass
class AsItWas:
    """Hook attributes that a module had before."""

    module: nn.Module
    had_registry: bool
    had_forward: bool

    def tidy(self) -> None:
        """Remove the attributes that hooks need, if they were not there before and no hook is left."""
        hooked = bool(hooks_on(self.module))
        if not hooked and not self.had_registry:
            REGISTRY.drop(self.module)
        forward = self.module.__dict__.get("forward")
        plain = getattr(forward, "__func__", None) is type(self.module).forward
        if plain and not self.had_forward and not hooked:
            del self.module.__dict__["forward"]


def as_it_is(module: nn.Module) -> AsItWas:
    """Return the state of a module before hooks are registered on it."""
    return AsItWas(module, REGISTRY.is_in(module), "forward" in module.__dict__)


class Passage:
    """Forward of one module, routed through ``through``; eager even in a compiled model."""

    __slots__ = ("__weakref__", "had_forward", "inner", "module", "through")

    def __init__(self, module: nn.Module, through: Through) -> None:
        self.module, self.had_forward = module, "forward" in module.__dict__
        self.inner: Callable[..., Any] = module.forward
        self.through: Through | None = through
        module.forward = self  # type: ignore[assignment]

    @torch.compiler.disable(reason=EAGER)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.through is None:
            return self.inner(*args, **kwargs)
        return self.through(self.inner, *args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.inner

    def renew(self) -> None:
        """Install this again, outermost, if other code removed it."""
        if not list(_links_to(self)):
            self.inner, self.had_forward = self.module.forward, "forward" in self.module.__dict__
            self.module.forward = self  # type: ignore[assignment]

    def remove(self) -> None:
        """Remove this from the chain of forwards, at any place in it."""
        self.through = None
        for holder, name in list(_links_to(self)):
            plain = getattr(self.inner, "__func__", None) is type(self.module).forward
            if holder is self.module and name == "forward" and plain and not self.had_forward:
                del self.module.__dict__[name]
                continue
            setattr(holder, name, self.inner)
            if isinstance(holder, Passage):
                holder.had_forward = self.had_forward

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.inner, memo)

    def __reduce__(self) -> Any:
        return self.inner.__reduce_ex__(4)


def _links_to(passage: Passage) -> Iterator[tuple[Any, str]]:
    """References to ``passage`` in a module's chain of forwards: an object and the name of its attribute."""
    module: Any = passage.module
    registry = module.__dict__.get(REGISTRY.name)
    holders = [(module, "forward"), (module, OFFLOADED_FORWARD.name)]
    for reference in REFERENCES.read(registry) if registry else ():
        holders += [(reference, "forward"), (reference, INNER_FORWARD.name)]
    for holder, name in holders:
        held = vars(holder).get(name)
        while isinstance(held, Passage) and held is not passage:
            holder, name, held = held, "inner", held.inner
        if held is passage:
            yield holder, name


class Around:
    """Hooks that report begin and end of each forward of a model, and its guidance branch, to a session.

    Plain torch hooks do not depend on ``model.forward``, which offloading replaces after every call of a pipeline.
    """

    def __init__(self, component: str, model: Any, session: Any) -> None:
        self.model, self._was = model, as_it_is(model)
        before, after = (Hook(partial(tell, component), session.copied) for tell in (session.begin, session.end))
        self._handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(before, with_kwargs=True),
            model.register_forward_hook(after, with_kwargs=True, always_call=True),
        ]
        self.context = Context(model, session) if hasattr(model, "cache_context") else None

    def remove(self) -> None:
        """Remove the hooks."""
        while self._handles:
            self._handles.pop().remove()
        if self.context is not None:
            self.context.remove()
        self._was.tidy()


class Hook:
    """Torch hook, eager even in a compiled model; copies of the module do not have it."""

    def __init__(self, call: Callable[..., Any], on_copy: Callable[[], None] = lambda: None) -> None:
        self.call, self.on_copy = call, on_copy

    @torch.compiler.disable(reason=EAGER)
    def __call__(self, *given: Any) -> Any:
        return self.call(*given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        self.on_copy()
        return nullcontext().__exit__  # a no-op with any arguments that does not refer to genkit

    def __reduce__(self) -> Any:
        return self.__deepcopy__({}).__reduce_ex__(4)


class Context:
    """Wrapper of a model's ``cache_context``, to which a pipeline passes branch, step and noise level of a call."""

    def __init__(self, model: Any, session: Any) -> None:
        self.model, self.session, self.inner = model, session, model.cache_context
        self.had = "cache_context" in model.__dict__
        model.__dict__["cache_context"] = self

    @contextmanager
    def __call__(self, name: str, **facts: Any) -> Iterator[None]:
        own = self.session.caches and self.session.foreign  # another pipeline must not use the state of our cache
        with self.session.within(name, facts), nullcontext() if own else self.inner(name, **facts):
            yield

    def remove(self) -> None:
        """Restore the previous ``cache_context``; another session may have wrapped this one in the meantime."""
        held = self.model.__dict__.get("cache_context")
        if held is self and not self.had:
            del self.model.__dict__["cache_context"]
        elif held is self:
            self.model.__dict__["cache_context"] = self.inner
        while isinstance(held, Context):
            if held.inner is self:
                held.inner, held.had = self.inner, self.had
            held = held.inner

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.inner, memo)

    def __reduce__(self) -> Any:
        return self.inner.__reduce_ex__(4)


def refuse_ring(component: str, model: nn.Module) -> None:
    """Raise ``ValueError`` if diffusers' context parallelism passes parts of the keys between devices."""
    degree = getattr(context_parallel(model), "ring_degree", None) or 1
    if degree > 1:
        raise ValueError(
            f"{component} runs in ring context parallelism (ring_degree={degree}), where no device has all keys of a "
            "call, so it cannot be planned; use ContextParallelConfig(ulysses_degree=...) instead, or leave out the "
            "plug-ins"
        )
