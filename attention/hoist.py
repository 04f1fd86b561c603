"""A static order of the tokens, applied before the first block of a model and undone after its last."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genkit.attention.hooks import Hook
from genkit.attention.permute import inverse

FEWEST = 16
"""Tokens below which an axis could be taken for one of the tokens by chance."""
BY_PLACE = ("token_replace_emb",)
"""Arguments with which a block tells tokens by their place: HunyuanVideo from an image treats the first ones apart."""

Enter = Callable[[Tensor], Tensor | None]
"""Given the hidden states of the first block; gives the order of their tokens, int64 ``[N]``, or None to leave them."""


class Hoist:
    """The hooks on the blocks of one model."""

    def __init__(self, blocks: list[nn.Module], enter: Enter) -> None:
        self.blocks, self.enter = blocks, enter
        self.handles: list[RemovableHandle] = []
        self._order: Tensor | None = None
        self._done: dict[int, tuple[Tensor, Tensor]] = {}

    def install(self) -> None:
        """Register the hooks."""
        for block in self.blocks:
            self.handles.append(block.register_forward_pre_hook(Hook(self._before), with_kwargs=True))
        self.handles.append(self.blocks[-1].register_forward_hook(Hook(self._after)))

    def remove(self) -> None:
        """Take them out again."""
        while self.handles:
            self.handles.pop().remove()

    def _before(self, block: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Order the arguments of a block; what all blocks share is ordered once."""
        bound = inspect.signature(type(block).forward).bind(block, *args, **kwargs)
        given = bound.arguments
        if block is self.blocks[0]:
            hidden = given["hidden_states"]
            apart = hidden.shape[1] < FEWEST or any(given.get(name) is not None for name in BY_PLACE)
            self._order, self._done = None if apart else self.enter(hidden), {}
        if self._order is None:
            return None
        for name, value in given.items():
            if name == "hidden_states" and block is not self.blocks[0] or name.startswith("encoder") or "mask" in name:
                continue
            given[name] = self._reordered(value, self._order)
        return bound.args[1:], bound.kwargs

    def _after(self, block: nn.Module, args: Any, out: Any) -> Any:
        """Put the video tokens back."""
        if self._order is None:
            return None
        back, self._order, self._done = inverse(self._order), None, {}
        if isinstance(out, Tensor):
            return out[:, back]
        return (out[0][:, back], *out[1:])

    def _reordered(self, value: Any, order: Tensor) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(self._reordered(x, order) for x in value)
        if isinstance(value, dict):
            return {name: self._reordered(x, order) for name, x in value.items()}
        axis = _axis(value, len(order))
        if axis is None:
            return value
        if id(value) not in self._done:
            self._done[id(value)] = value, value.index_select(axis, order)
        return self._done[id(value)][1]


def _axis(value: Any, tokens: int) -> int | None:
    """The axis of the tokens; None where there is none.

    Rotary tables are ``[N, ..]`` or ``[B, N, ..]``, hidden states and modulations that differ by token ``[B, N, ..]``;
    of two axes the second is that of channels.
    """
    if not isinstance(value, Tensor):
        return None
    return next((axis for axis in range(min(2, value.ndim - 1)) if value.shape[axis] == tokens), None)
