"""The seam of step caches: diffusers' own caches are put into the models of a pipeline and removed without a trace.

The hooks are diffusers'. Added here is what a guided or repeated generation needs: every run begins empty, also after
an interrupted one; each guidance branch has its own memory; and the record contains what was skipped.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from genkit.attention.geometry.windows import Window
from genkit.attention.model.forward import Forward
from genkit.attention.model.hooks import AsItWas, as_it_is
from genkit.attention.model.session import Session
from genkit.attention.private import (
    CACHE_CONFIG,
    CACHE_STATE,
    INNER_FORWARD,
    REFERENCE,
    RESET_CACHE,
    cache_hooks,
    forget_registries,
)
from genkit.errors import GenkitError, UsageError
from genkit.plugins.contract import CachePlan


class StepCache:
    """One cache, enabled in every model of a pipeline."""

    def __init__(self, session: Session, plan: CachePlan) -> None:
        self.session, self.plan = session, plan
        self.models: dict[str, Any] = session.models
        self.memory: tuple[tuple[str, ...], Window | None] = ((), None)
        """Guidance branches and window of the current forward: each has its own memory."""
        self._steps = 1
        self._configs: dict[str, Any] = {}
        self._before: list[AsItWas] = []
        self._marked: set[str] = set()

    def install(self) -> None:
        """Enable the cache in each model.

        Raises:
            UsageError: diffusers cannot cache a model, or it already has a cache.
        """
        for name, model in self.models.items():
            self._check(name, model)
            if CACHE_CONFIG.is_own(model):
                self._marked.add(name)
            config = self.plan.config(self.session, model, self._steps)
            self._before += [as_it_is(module) for module in model.modules()]
            self._configs[name] = config
            forget_registries(model)
            self._enable(name, model, config)
            RESET_CACHE.write(model, partial(self._reset, model))
        self.session.watchers.append(self)
        self.session.on_copy, self.session.caches = self._refuse_copy, True

    def remove(self) -> None:
        """Disable it again; attributes that did not exist before are deleted."""
        for name, config in self._configs.items():
            model = self.models[name]
            RESET_CACHE.drop(model)
            if CACHE_CONFIG.read(model) is config:
                model.disable_cache()
            if CACHE_CONFIG.read(model) is None and name not in self._marked:
                CACHE_CONFIG.drop(model)
        self._configs.clear()
        while self._before:
            self._before.pop().tidy()
        for model in self.models.values():
            forget_registries(model)
        if self in self.session.watchers:
            self.session.watchers.remove(self)

    def reset(self) -> None:
        """Discard everything that was kept for reuse."""
        for model in self.models.values():
            RESET_CACHE.read(model)()

    def _reset(self, model: Any, recurse: bool = True) -> None:
        """Reset at the end of every call, as diffusers does; another pipeline's call does nothing."""
        if not self.session.foreign:
            RESET_CACHE.read(type(model))(model, recurse)

    def begin(self, forward: Forward) -> None:
        """Lay out a cache over all steps, whose number is known only now."""
        self.memory, total = (forward.step.branches, forward.window), forward.step.total
        if total == self._steps:
            return
        self._steps = total
        for name, config in self._configs.items():
            vars(config).update(vars(self.plan.config(self.session, self.models[name], total)))

    def end(self, forward: Forward) -> None:
        """Finish a forward."""
        if self.plan.after is not None:
            self.plan.after(self.session, self.models[forward.component], forward.step)

    def _check(self, component: str, model: Any) -> None:
        if not hasattr(model, "enable_cache"):
            raise UsageError(
                f"{self.plan.name} needs a transformer that diffusers can cache, and {self.session.card.title} has a "
                f"{type(model).__name__}; leave {self.plan.name} out for it"
            )
        if model.is_cache_enabled or any(cache_hooks(model)):
            kind = type(CACHE_CONFIG.find(model) or next(cache_hooks(model))).__name__
            raise UsageError(
                f"{self.plan.name}: the {component} of this pipeline already has a cache ({kind}); call "
                f"pipe.{component}.disable_cache() before apply()"
            )

    def _enable(self, component: str, model: Any, config: Any) -> None:
        try:
            model.enable_cache(config)
        except (ValueError, IndexError) as error:
            CACHE_CONFIG.write(model, config)  # so that disable_cache removes the hooks already added
            reason = "it has fewer than two blocks" if isinstance(error, IndexError) else str(error)
            raise UsageError(self._unable(component, model, reason)) from error
        hooks = list(cache_hooks(model))
        if not hooks:
            raise UsageError(self._unable(component, model, "it finds no layer to cache"))
        for hook in hooks:
            self._keep_apart(hook)
            if CACHE_STATE.is_in(hook):
                CACHE_STATE.write(hook, StateByForward(self, type(CACHE_STATE.read(hook))))

    def _keep_apart(self, hook: Any) -> None:
        """Let a layer bypass the cache when another pipeline runs the model; count when this one does."""
        reference = REFERENCE.read(hook)
        cached = reference.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not self.session.inside:
                return INNER_FORWARD.read(reference)(*args, **kwargs)
            self.session.run.came[self.plan.name, "cache"] += 1
            return cached(*args, **kwargs)

        reference.forward = forward

    def _refuse_copy(self) -> None:
        raise GenkitError(
            f"a model with {self.plan.name} in it cannot be copied or pickled, because diffusers' copy would continue "
            "computing in the original's layers; call remove() first"
        )

    def _unable(self, component: str, model: nn.Module, reason: str) -> str:
        return (
            f"{self.plan.name}: diffusers cannot cache the {component} of this pipeline, a {type(model).__name__} "
            f"({reason}); leave {self.plan.name} out for it"
        )


class StateByForward:
    """The memory of one layer, separate for each guidance branch and each window of frames.

    diffusers' hook for Pyramid Attention Broadcast has one memory per layer, but many pipelines run their model once
    for each branch, and windows once for each of them: the negative text would reuse the attention of the prompt, and a
    window that of its neighbour.
    """

    def __init__(self, cache: StepCache, make: Callable[[], Any]) -> None:
        self._cache = cache
        self._states: defaultdict[Any, Any] = defaultdict(make)

    @property
    def _now(self) -> Any:
        return self._states[self._cache.memory]

    @property
    def iteration(self) -> int:
        """Number of forwards of this branch and window so far."""
        count: int = self._now.iteration
        return count

    @iteration.setter
    def iteration(self, count: int) -> None:
        self._now.iteration = count

    @property
    def cache(self) -> Any:
        """Last output of the layer in this branch and window; None at first."""
        return self._now.cache

    @cache.setter
    def cache(self, value: Any) -> None:
        self._now.cache = value

    def reset(self) -> None:
        """Discard everything."""
        self._states.clear()
