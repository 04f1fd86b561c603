"""A stand-in for one block of a modular pipeline, which routes its calls; the block itself is never changed."""

import copy
from collections.abc import Callable, MutableMapping
from typing import Any

Run = Callable[[], Any]
"""Runs the block as it would have run."""
Through = Callable[[Run, Any], Any]
"""Called with the block and the ``PipelineState`` of a run; returns what the block returns."""


class BlockPassage:
    """A block whose calls by one pipeline go ``through`` a function; to all other code it is the block.

    ``holder`` has the block under ``name``: the attributes of a pipeline, or the ``sub_blocks`` of another block.
    """

    def __init__(self, pipe: Any, holder: MutableMapping[str, Any], name: str, through: Through) -> None:
        self.pipe, self.holder, self.name = pipe, holder, name
        self.block: Any = holder[name]
        self.through: Through | None = through
        holder[name] = self

    def __call__(self, components: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        if self.through is None or components is not self.pipe:
            return self.block(components, state, *args, **kwargs)
        return self.through(lambda: self.block(components, state, *args, **kwargs), state)

    @property  # type: ignore[misc]  # so that isinstance() takes it for the block
    def __class__(self) -> type:
        return type(self.block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["block"], name)

    def remove(self) -> None:
        """Put the block back, unless another one stands there meanwhile."""
        self.through = None
        if self.holder.get(self.name) is self:
            self.holder[self.name] = self.block

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.block, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.block.__reduce_ex__(protocol)
