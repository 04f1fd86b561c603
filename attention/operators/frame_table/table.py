"""The table: which group each token belongs to, and what happens to the logits of each pair of groups."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

INF = float("inf")
T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameTable:
    """Groups of queries and keys (latent frames, texts of events), and a number for each pair of groups.

    The logit ``s`` of a query in group ``r`` and a key in group ``c`` becomes ``gain[r, c] s + peak[r, c] m +
    bias[r, c]``, where ``m`` is the max of ``gain s`` over the keys that the query may read.
    """

    rows: Tensor
    """int64 ``[Nq]``, row of the tables for each query; ``[B, Nq]`` if the videos of a batch differ."""
    columns: Tensor
    """int64 ``[Nk]``, column of the tables for each key."""
    bias: Tensor
    """float ``[R, C]``; -inf: never read."""
    gain: Tensor | None = None
    """float ``[R, C]``; None is 1."""
    positive: bool = False
    """True if ``gain`` applies to positive logits only, so that no key comes closer by it."""
    peak: Tensor | None = None
    """float ``[R, C]``; None is 0."""

    def __post_init__(self) -> None:
        if self.bias.ndim != 2 or any(x is not None and x.shape != self.bias.shape for x in (self.gain, self.peak)):
            shapes = [None if x is None else list(x.shape) for x in (self.bias, self.gain, self.peak)]
            raise ValueError(f"bias, gain and peak of a table must be of one shape [rows, columns], got {shapes}")
        for name, index, size in (("rows", self.rows, len(self.bias)), ("columns", self.columns, self.bias.shape[1])):
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
                raise ValueError(
                    f"{name} must be in 0 to {size - 1}, as the table has {size}; got {int(index.min())} to "
                    f"{int(index.max())}"
                )

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return ``make()``, computed once for each ``key``: what a kernel needs of this table."""
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    @cached_property
    def _kept(self) -> dict[Hashable, Any]:
        return {}

    @property
    def plain(self) -> bool:
        """True if the table only hides keys and adds to logits, as an attention mask can."""
        return self.gain is None and self.peak is None

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Begin and end (exclusive) of each run of queries with one row, in all videos of the batch."""
        rows = self.rows.reshape(-1, self.rows.shape[-1])
        cut = (rows[:, 1:] != rows[:, :-1]).any(0).nonzero().flatten() + 1
        places = [0, *cut.tolist(), rows.shape[1]]
        return tuple(zip(places, places[1:], strict=False))

    def tiles(self, queries: int) -> Tensor:
        """Return begin and end of tiles of at most ``queries`` queries with one row each, int32 ``[tiles, 2]``."""
        return torch.tensor(list(self._cut(queries)), dtype=torch.int32)

    def _cut(self, queries: int) -> Iterator[tuple[int, int]]:
        for begin, end in self.runs:
            yield from ((at, min(at + queries, end)) for at in range(begin, end, queries))

    def readable(self, tiles: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """Return the tiles of ``keys`` keys of which each tile of queries may read a part.

        Returns:
            int32 ``[B or 1, tiles]``, their number, and int32 ``[B or 1, tiles, key tiles]``, ascending, then 0.
        """
        rows, open_groups = self.rows.reshape(-1, self.rows.shape[-1]), self.bias > -INF
        key_tiles = -(-len(self.columns) // keys)
        present = torch.zeros(key_tiles, self.bias.shape[1], dtype=torch.bool, device=self.bias.device)
        present[torch.arange(len(self.columns), device=present.device) // keys, self.columns] = True
        reaches = (open_groups.float() @ present.float().T) > 0  # [R, key tiles]
        live = torch.stack([reaches[rows[:, begin:end]].any(1) for begin, end in tiles.tolist()], 1)
        order = live.int().argsort(dim=-1, descending=True, stable=True)
        count = live.sum(-1, dtype=torch.int32)
        listed = order.masked_fill(torch.arange(key_tiles, device=live.device) >= count[..., None], 0)
        return count, listed.int()
