"""Attention calls of one forward as a trace keeps them: shapes, mask and a short print of each row, not the tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

MaskKind = Literal["none", "key padding", "outer", "other"]
"""``key padding``: one value for each key; ``outer``: bool, row and column both valid; ``other``: any other mask."""
PRINT = 4
"""Numbers in the print of a row."""
Until = Mapping[str, int]
"""Attention calls of modules, by name, that are enough."""
NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


@dataclass(frozen=True, kw_only=True)
class SeenCall:
    """One call of ``scaled_dot_product_attention``."""

    layer: str
    """Name of the module inside the model that made the call; empty: the model itself."""
    number: int
    """Number of the call among those of its module in this forward, from 0."""
    heads: tuple[int, int]
    """Heads of queries and of keys, which are fewer in grouped-query attention."""
    q: Tensor
    """Prints of the queries, float64 ``[B, N, PRINT]`` on the CPU."""
    k: Tensor
    """Prints of the keys, float64 ``[B, N, PRINT]`` on the CPU."""
    mask: MaskKind
    """Kind of mask."""
    causal: bool
    """True for ``is_causal``."""

    @property
    def batch(self) -> int:
        """Sequences of the call."""
        return self.q.shape[0]

    @property
    def tokens(self) -> tuple[int, int]:
        """Numbers of queries and of keys."""
        return self.q.shape[1], self.k.shape[1]


def rows_of(heads: Tensor) -> Tensor:
    """Return the prints of the rows of ``[B, H, N, D]``, float64 ``[B, N, PRINT]``: fixed projections of each row."""
    _, count, _, width = heads.shape
    channel = torch.arange(count * width, dtype=torch.float64, device=heads.device)
    turns = torch.tensor([1.0, 2.0**0.5, 3.0**0.5, 5.0**0.5], dtype=torch.float64, device=heads.device)
    parts = torch.cos(channel[:, None] * turns + turns).unflatten(0, (count, width))
    one_by_one = (heads[:, head].detach().double() @ parts[head] for head in range(count))  # many tokens fill memory
    return sum(one_by_one, torch.zeros((), dtype=torch.float64, device=heads.device)).cpu()


def moved(before: Tensor, after: Tensor, tolerance: float = 1e-6) -> Tensor:
    """Return which rows of two lists of prints differ, bool ``[B, N]``.

    Args:
        before, after: prints ``[B, N, PRINT]`` of the same call in two forwards.
        tolerance: largest difference that counts as none, as a share of the largest print.
    """
    size = torch.maximum(before.abs().amax(), after.abs().amax())
    return (before - after).abs().amax(-1) > tolerance * size


def mask_kind(mask: Tensor | None) -> MaskKind:
    """Return the kind of a mask that broadcasts to ``[B, H, Nq, Nk]``."""
    if mask is None:
        return "none"
    if mask.ndim < 2 or mask.shape[-2] == 1:
        return "key padding"
    if mask.dtype == torch.bool and bool((mask == mask.any(-1, keepdim=True) & mask.any(-2, keepdim=True)).all()):
        return "outer"
    return "other"


class Enough(Exception):
    """All attention calls that were asked for have been made."""


class Listener(TorchFunctionMode):
    """Record the attention calls of one forward; ``inside`` is the stack of the modules that run.

    Args:
        apart: answer each call with zeros, so that no token learns of another one in attention.
        until: numbers of calls of modules after which the forward ends with ``Enough``; None: it runs to its end.
    """

    def __init__(self, *, apart: bool = False, until: Until | None = None) -> None:
        super().__init__()
        self.apart, self.until = apart, until
        self.calls: list[SeenCall] = []
        self.inside: list[str] = []
        self._made: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = dict(zip(NAMES, args, strict=False)) | kwargs
        self._keep(given)
        if self.until and all(self._made.get(layer, -1) + 1 >= calls for layer, calls in self.until.items()):
            raise Enough
        if self.apart:
            q, v = given["query"], given["value"]
            return q.new_zeros(*q.shape[:-1], v.shape[-1])
        return func(*args, **kwargs)

    def _keep(self, given: dict[str, Any]) -> None:
        layer = self.inside[-1] if self.inside else ""
        self._made[layer] = self._made.get(layer, -1) + 1
        q, k = given["query"], given["key"]
        self.calls.append(
            SeenCall(
                layer=layer,
                number=self._made[layer],
                heads=(q.shape[1], k.shape[1]),
                q=rows_of(q),
                k=rows_of(k),
                mask=mask_kind(given.get("attn_mask")),
                causal=bool(given.get("is_causal")),
            )
        )
