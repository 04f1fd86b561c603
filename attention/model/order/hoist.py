"""A static order of the tokens, applied before the first block of a model and undone after its last."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genkit.attention.model.hooks import Hook
from genkit.attention.operators.permute import inverse

Enter = Callable[[Tensor], Tensor | None]
"""Returns the token order of the first block's hidden states, int64 ``[N]``, or None to leave them."""
Place = tuple[Any, ...]
"""Index of a block and the path to one of its arguments, or ``"out"`` and the path to an output of the last one."""
Axes = dict[Place, int]
"""Axis of the video tokens in each tensor that has one."""


class Hoist:
    """Hooks on the blocks of one model; tokens are not reordered until their axes are known."""

    def __init__(
        self, component: str, blocks: list[nn.Module], enter: Enter, inside: Callable[[], bool] = lambda: True
    ) -> None:
        self.component, self.blocks, self.enter = component, blocks, enter
        self.inside = inside
        """Returns True if this thread runs the model for the order's own pipeline."""
        self.axes: Axes | None = None
        """Axes of the tokens; None: they are not reordered."""
        self.shapes: dict[Place, tuple[int, ...]] | None = None
        """Shapes of all arguments of blocks and outputs of the last one; None: not recorded."""
        self.handles: list[RemovableHandle] = []
        self._order: Tensor | None = None
        self._done: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def install(self) -> None:
        """Register the hooks."""
        for block in self.blocks:
            self.handles.append(block.register_forward_pre_hook(Hook(self._before), with_kwargs=True))
        self.handles.append(self.blocks[-1].register_forward_hook(Hook(self._after)))

    def remove(self) -> None:
        """Remove the hooks."""
        while self.handles:
            self.handles.pop().remove()

    def _before(self, block: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Reorder the arguments of a block; tensors that all blocks share are reordered once."""
        if not self.inside():
            return None
        number = next(i for i, one in enumerate(self.blocks) if one is block)
        bound = inspect.signature(type(block).forward).bind(block, *args, **kwargs)
        given = bound.arguments
        if self.shapes is not None:
            self.shapes.update({(number, *way): tuple(x.shape) for way, x in leaves(given)})
        if number == 0:
            self._order, self._done = self._entered(given), {}
        if self._order is None or self.axes is None:
            return None
        for name, value in given.items():
            if number == 0 or name != self._carried(self.axes):
                given[name] = self._reordered(value, (number, name), self._order)
        return bound.args[1:], bound.kwargs

    def _entered(self, given: dict[str, Any]) -> Tensor | None:
        """Order for the arguments of the first block; None if one differs from the trial."""
        if self.axes is None:
            return None
        tensors = dict(leaves(given))
        hidden, tokens = tensors.get((self._carried(self.axes),)), set()
        for (number, *way), axis in self.axes.items():
            if number == 0:
                found = tensors.get(tuple(way))
                tokens.add(found.shape[axis] if found is not None and found.ndim > axis else None)
        return self.enter(hidden) if hidden is not None and len(tokens) == 1 else None

    @staticmethod
    def _carried(axes: Axes) -> str | None:
        """Argument that is passed from block to block: the hidden states."""
        names = [place[1] for place in axes if place[0] == 0]
        return "hidden_states" if "hidden_states" in names else next(iter(names), None)

    def _after(self, block: nn.Module, args: Any, out: Any) -> Any:
        """Restore the order of the video tokens."""
        if not self.inside():
            return None
        if self.shapes is not None:
            self.shapes.update({("out", *way): tuple(x.shape) for way, x in leaves({"": out})})
        if self._order is None:
            return None
        back, self._order, self._done = inverse(self._order), None, {}
        return self._reordered(out, ("out", ""), back)

    def _reordered(self, value: Any, place: Place, order: Tensor) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(self._reordered(x, (*place, i), order) for i, x in enumerate(value))
        if isinstance(value, dict):
            return {name: self._reordered(x, (*place, name), order) for name, x in value.items()}
        assert self.axes is not None
        axis = self.axes.get(place)
        if axis is None or not isinstance(value, Tensor):
            return value
        if value.ndim <= axis or value.shape[axis] != len(order):
            raise RuntimeError(
                f"{self.component}: {place} has {list(value.shape)}, but {len(order)} tokens were expected in axis "
                f"{axis}, as in the trial of this model; use order=frames with it"
            )
        if (id(value), axis) not in self._done:
            self._done[id(value), axis] = value, value.index_select(axis, order)
        return self._done[id(value), axis][1]


def leaves(value: Any, way: Place = ()) -> Iterator[tuple[Place, Tensor]]:
    """Yield every tensor in arguments or outputs with the path to it."""
    if isinstance(value, Tensor):
        yield way, value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*way, name))
    elif isinstance(value, (tuple, list)):
        for number, one in enumerate(value):
            yield from leaves(one, (*way, number))


def axes_of(one: dict[Place, tuple[int, ...]], other: dict[Place, tuple[int, ...]], tokens: tuple[int, int]) -> Axes:
    """Return the axes of the tokens: those with as many entries as tokens in two forwards of different length."""
    axes: Axes = {}
    for place, shape in one.items():
        pairs = list(zip(shape, other.get(place, ()), strict=False))
        if tokens in pairs:
            axes[place] = pairs.index(tokens)
    return axes
