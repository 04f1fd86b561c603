"""The first forward of a model in a run, and the same forward again with some of its arguments changed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genkit.attention.facts.volume import Arguments
from genkit.attention.model.order.hoist import leaves
from genkit.attention.model.order.trial import untraced
from genkit.attention.model.router import NATIVE
from genkit.attention.private import BACKEND
from genkit.attention.replays.calls import Enough, Listener, SeenCall, Until

Context = tuple[str, Mapping[str, Any]]
"""Name and facts of the ``cache_context`` that a forward runs in."""


@dataclass(frozen=True, kw_only=True)
class FirstForward:
    """The first forward of one denoising model in a run of its pipeline."""

    component: str
    """Name of the model in the pipeline."""
    model: nn.Module
    """The model."""
    arguments: Arguments
    """Arguments by name; tensors are copies."""
    context: Context | None = None
    """The model's ``cache_context``; None: it ran in none."""


@dataclass(frozen=True, kw_only=True)
class Passed:
    """Hidden states between the blocks of one module list."""

    name: str
    """Name of the list inside the model."""
    unchanged: bool
    """True if each block gets the very tensors that the block before it returned."""
    first: frozenset[int] = field(default_factory=frozenset)
    """Identities of the tensors that the first block gets."""
    last: frozenset[int] = field(default_factory=frozenset)
    """Identities of the tensors that the last block returns."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What happened in one forward."""

    calls: tuple[SeenCall, ...]
    """Attention calls in order."""
    output: tuple[Tensor, ...]
    """Tensors of the model's answer."""
    passed: tuple[Passed, ...] = ()
    """Module lists of the model that ran block by block, in order."""

    def same_calls(self, other: "Replayed") -> bool:
        """Return True if another forward made the same calls, with the same shapes."""
        mine, theirs = ([(call.layer, call.q.shape, call.k.shape) for call in one.calls] for one in (self, other))
        return mine == theirs


def replay(
    forward: FirstForward,
    changes: Mapping[str, Any] | None = None,
    *,
    apart: bool = False,
    until: Until | None = None,
) -> Replayed:
    """Run a forward again, and return its attention calls and its output.

    The model computes as it does without us, on PyTorch's own attention, and is left as it was, also after an error;
    random numbers, modes, step caches and gradients are not touched.

    Args:
        forward: as it was recorded.
        changes: arguments to replace or to add; None changes nothing.
        apart: let attention answer zeros: a token then depends on its own place and values alone, in every layer of a
            model that has nothing else between tokens.
        until: attention calls of modules after which the forward ends, without output; None: it runs to its end.

    Raises:
        Exception: whatever the model raises for the changed arguments.
    """
    arguments = {**forward.arguments, **(changes or {})}
    listener, blocks = Listener(apart=apart, until=until), _Blocks(forward.model)
    out: Any = ()
    with ExitStack() as stack:
        stack.enter_context(untraced(forward.model))
        stack.enter_context(_native(forward.model))
        stack.enter_context(_named(forward.model, listener.inside))
        stack.enter_context(blocks.watched())
        stack.enter_context(_within(forward))
        stack.enter_context(suppress(Enough))
        stack.enter_context(listener)
        out = forward.model(**copied(arguments))
    found = out if isinstance(out, tuple | list | Tensor) else dict(out)
    return Replayed(
        calls=tuple(listener.calls),
        output=tuple(tensor.detach().clone() for _, tensor in leaves(found)),
        passed=blocks.passed(),
    )


def copied(value: Any) -> Any:
    """Return arguments whose tensors are copies; anything else stays the same object."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: copied(one) for name, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(copied(one) for one in value)
    return value


def _within(forward: FirstForward) -> Any:
    if forward.context is None or not hasattr(forward.model, "cache_context"):
        return nullcontext()
    name, facts = forward.context
    context: Any = forward.model.cache_context
    return context(name, **facts)


@contextmanager
def _named(model: nn.Module, inside: list[str]) -> Iterator[None]:
    """Keep the names of the modules that run on a stack."""

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: inside.append(name)

    def leave(*_: Any) -> None:
        inside.pop()

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name)).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield


@contextmanager
def _native(model: nn.Module) -> Iterator[None]:
    """Let attention processors use PyTorch's own attention, but those whose block masks FlexAttention alone reads."""
    processors = [getattr(module, "processor", None) for module in model.modules()]
    chosen = [(one, BACKEND.find(one), BACKEND.is_own(one)) for one in processors if BACKEND.is_in(one)]
    chosen = [(one, backend, own) for one, backend, own in chosen if "flex" not in str(backend)]
    try:
        for processor, _, _ in chosen:
            BACKEND.write(processor, NATIVE)
        yield
    finally:
        for processor, backend, own in chosen:
            BACKEND.write(processor, backend) if own else BACKEND.drop(processor)


class _Blocks:
    """Watch which tensors pass between the blocks of the module lists right below a model."""

    def __init__(self, model: nn.Module) -> None:
        self.lists = {
            name: list(child) for name, child in model.named_children() if isinstance(child, nn.ModuleList) and child
        }
        self._seen: list[tuple[str, set[int], set[int]]] = []
        self._alive: list[Any] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        with ExitStack() as stack, torch.no_grad():
            for name, blocks in self.lists.items():
                for block in blocks:
                    stack.callback(block.register_forward_pre_hook(self._before(name), with_kwargs=True).remove)
                    stack.callback(block.register_forward_hook(self._after).remove)
            yield

    def _before(self, name: str) -> Callable[..., None]:
        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._alive.append((args, kwargs))  # so that no later tensor gets the identity of one of these
            self._seen.append((name, {id(tensor) for _, tensor in leaves((args, kwargs))}, set()))

        return before

    def _after(self, module: nn.Module, args: Any, out: Any) -> None:
        self._alive.append(out)
        self._seen[-1][2].update(id(tensor) for _, tensor in leaves(out))

    def passed(self) -> tuple[Passed, ...]:
        """Return what passed between the blocks of each list that ran."""
        self._alive.clear()
        names = dict.fromkeys(name for name, _, _ in self._seen)
        return tuple(
            self._of(name, [(taken, given) for one, taken, given in self._seen if one == name]) for name in names
        )

    def _of(self, name: str, seen: list[tuple[set[int], set[int]]]) -> Passed:
        pairs = zip(seen, seen[1:], strict=False)
        unchanged = len(seen) == len(self.lists[name]) and all(
            given and given <= taken for (_, given), (taken, _) in pairs
        )
        return Passed(name=name, unchanged=unchanged, first=frozenset(seen[0][0]), last=frozenset(seen[-1][1]))
