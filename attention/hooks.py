"""diffusers model hooks that call back into a session, registered so that removal leaves a module as it was."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from genkit.attention.call import Step

HOOK_NAME = "genkit"


class Watcher(Protocol):
    """Something that wants to know about each forward of a model."""

    def begin(self, component: str, step: Step) -> None:
        """Before the model's first layer."""
        ...

    def end(self, component: str, step: Step) -> None:
        """After its last."""
        ...


@dataclass
class Registered:
    """One hook on one module, and what the module looked like before."""

    module: nn.Module
    had_registry: bool
    had_forward: bool

    def remove(self) -> None:
        """Take the hook out; attributes that were not there before go as well, unless someone else uses them now."""
        registry: Any = self.module._diffusers_hook
        registry.remove_hook(HOOK_NAME, recurse=False)
        self.tidy()

    def tidy(self) -> None:
        """Take away the attributes that hooks need, if they were not there before and no hook is left."""
        registry = getattr(self.module, "_diffusers_hook", None)
        if registry is None or registry.hooks:
            return
        if not self.had_registry:
            del self.module._diffusers_hook
        forward = self.module.__dict__.get("forward")
        if not self.had_forward and getattr(forward, "__func__", None) is type(self.module).forward:
            del self.module.__dict__["forward"]


def as_it_is(module: nn.Module) -> Registered:
    """What a module looks like before hooks are registered on it."""
    return Registered(module, hasattr(module, "_diffusers_hook"), "forward" in module.__dict__)


def register(module: nn.Module, hook: Any) -> Registered:
    """Register a hook under our name."""
    from diffusers.hooks import HookRegistry

    state = as_it_is(module)
    registry = HookRegistry.check_if_exists_or_initialize(module)
    registry.register_hook(hook, HOOK_NAME)
    if hasattr(registry, "invalidate_child_registries_cache"):
        registry.invalidate_child_registries_cache()
    return state


def refuse_ring(component: str, model: nn.Module) -> None:
    """Raise ``ValueError`` where diffusers' context parallelism hands parts of the keys around."""
    config: Any = getattr(getattr(model, "_parallel_config", None), "context_parallel_config", None)
    degree = getattr(config, "ring_degree", None) or 1
    if degree > 1:
        raise ValueError(
            f"{component} runs in ring context parallelism (ring_degree={degree}), where no device sees all keys of a "
            "call, so nothing can be planned there; use ContextParallelConfig(ulysses_degree=...) instead, or leave "
            "the plug-ins out"
        )


def make_layer_hook(layer: Any, route: Callable[[Any, Callable[[], Any]], Any]) -> Any:
    """A hook for an attention module: its forward runs through ``route``; eager even in a compiled model."""
    from diffusers.hooks import ModelHook

    class LayerHook(ModelHook):
        @torch.compiler.disable
        def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return route(layer, lambda: self.fn_ref.original_forward(*args, **kwargs))

    return LayerHook()


def make_model_hook(component: str, session: Any) -> Any:
    """A hook for the whole model: tells the session where each forward begins and ends.

    It is stateful in diffusers' sense only to be told the pipeline's cache context (branch, step and sigma).
    """
    from diffusers.hooks import ModelHook
    from diffusers.hooks.hooks import BaseState, StateManager

    class ModelHookWithContext(ModelHook):
        _is_stateful = True

        def __init__(self) -> None:
            super().__init__()
            self.manager = StateManager(BaseState)

        def reset_state(self, module: nn.Module) -> nn.Module:
            return module

        @torch.compiler.disable(recursive=False)
        def new_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            context = getattr(self.manager, "_context", None) or getattr(self.manager, "_current_context", None)
            session.begin(component, module, args, kwargs, context)
            try:
                out = self.fn_ref.original_forward(*args, **kwargs)
            except BaseException:
                session.abandon()
                raise
            session.end(component)
            return out

    return ModelHookWithContext()
