"""Every operator of `genkit.attention` with its definition: single PyTorch operations on the same inputs.

The same table has two uses: operators are checked against it before any speed is printed, and timed with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_mass import block_mass
from genkit.attention.operators.block_sparse import Impl, block_sparse
from genkit.attention.operators.frame_table import FrameTable, frame_table
from genkit.attention.operators.frame_table.api import TableImpl
from genkit.attention.operators.permute import permute
from genkit.attention.operators.pool import pool
from genkit.attention.operators.threshold import threshold_attention
from genkit.attention.operators.threshold.api import ThresholdImpl


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs of all operators; each uses its part."""

    q: Tensor
    k: Tensor
    v: Tensor
    """``[B, H, N, D]``."""
    plan: BlockPlan
    lse: Tensor
    """``[B, H, N]``, any finite numbers: block mass is defined for all."""
    order: Tensor
    """int64 ``[1, 1, N]``, a permutation."""
    tau: float = 1.0
    """Threshold of threshold attention."""

    @property
    def scale(self) -> float:
        """Factor of the logits."""
        return float(self.q.shape[-1] ** -0.5)

    @property
    def square(self) -> float:
        """FLOPs of one product of all queries with all keys."""
        batch, heads, tokens, width = self.q.shape
        return 2.0 * batch * heads * tokens**2 * width

    @property
    def bytes(self) -> float:
        """Size in bytes of one tensor of tokens."""
        return float(self.q.numel() * self.q.element_size())

    def double(self) -> "Inputs":
        """Return the same numbers in float64."""
        q, k, v, lse = (x.double() for x in (self.q, self.k, self.v, self.lse))
        return Inputs(q=q, k=k, v=v, plan=self.plan, lse=lse, order=self.order, tau=self.tau)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator with its definition and its useful work."""

    run: Callable[[Inputs, Any], Tensor]
    """Our operator, by inputs and implementation."""
    plain: Callable[[Inputs], Tensor]
    """The same result by single operations, in the dtype of the inputs."""
    work: Callable[[Inputs], float]
    """Useful FLOPs or bytes."""
    formula: str
    """Formula of ``work``."""
    unit: str = "TFLOP/s"
    impls: tuple[str, ...] = ("auto", "triton", "reference")
    """Implementations that can be asked for."""


def _expand(given: Inputs, keep: Tensor) -> Tensor:
    block, tokens = given.plan.block, given.q.shape[2]
    tall = keep.repeat_interleave(block, 2)[:, :, :tokens]
    return tall.repeat_interleave(block, 3)[..., :tokens]


def _logits(given: Inputs, keep: Tensor) -> Tensor:
    return ((given.q * given.scale) @ given.k.mT).masked_fill(~_expand(given, keep), float("-inf"))


def _sparse(given: Inputs) -> Tensor:
    weights = _logits(given, given.plan.keep).softmax(-1)
    return weights.nan_to_num(0) @ given.v  # a row that reads nothing gives 0


def _blocks_of(x: Tensor, block: int) -> Tensor:
    """Return ``[B, H, blocks, block, D]``, the last block padded with zeros."""
    return pad(x, (0, 0, 0, -x.shape[2] % block)).unflatten(2, (-1, block))


def _counts(x: Tensor, block: int) -> Tensor:
    """Return the tokens of each block, ``[blocks, 1]``."""
    return _blocks_of(torch.ones_like(x[:1, :1, :, :1]), block).sum(3)[0, 0]


def _with_tail(given: Inputs, keep: Tensor) -> Tensor:
    block, tokens = given.plan.block, given.q.shape[2]
    counts = _counts(given.k, block)
    keys, values = (_blocks_of(x, block).sum(3) / counts for x in (given.k, given.v))
    far = (given.q * given.scale) @ keys.mT + counts[:, 0].log()
    left_out = ~keep.repeat_interleave(block, 2)[:, :, :tokens]
    logits = torch.cat([_logits(given, keep), far.masked_fill(~left_out, float("-inf"))], -1)
    return logits.softmax(-1) @ torch.cat([given.v, values], 2)


def _threshold(given: Inputs) -> Tensor:
    """Define it for a tau of plus or minus infinity, where rounding cannot flip a block."""
    index = torch.arange(given.plan.keep.shape[-1], device=given.q.device)
    near = (index[:, None] - index).abs() <= 1
    keep = near if given.tau > 0 else torch.ones_like(near)
    return _with_tail(given, keep[None, None])


def _mass(given: Inputs) -> Tensor:
    block, tokens = given.plan.block, given.q.shape[2]
    weights = ((given.q * given.scale) @ given.k.mT - given.lse[..., None].to(given.q.dtype)).exp()
    spare = -tokens % block
    tiles = pad(weights, (0, spare, 0, spare)).unflatten(3, (-1, block)).unflatten(2, (-1, block))
    return tiles.sum((3, 5))


def _pool(given: Inputs) -> Tensor:
    block = given.plan.block
    counts = _counts(given.k, block)
    mean, unit = (_blocks_of(x, block).sum(3) / counts for x in (given.k, normalize(given.k, dim=-1)))
    return torch.cat([mean, unit.square().sum(-1, keepdim=True)], -1)


def _our_pool(given: Inputs, impl: Any) -> Tensor:
    mean, alike = pool(given.k, given.plan.block, impl=impl)
    return torch.cat([mean, alike[..., None]], -1)


def _sparse_work(given: Inputs) -> float:
    return 2 * given.square * given.plan.density


def _threshold_work(given: Inputs) -> float:
    _, exact = threshold_attention(given.q, given.k, given.v, block=given.plan.block, tau=given.tau)
    return 2 * given.square * float(exact.double().mean()) / exact.shape[-1]


def _table(given: Inputs) -> FrameTable:
    """Return a table whose frames are blocks: a window over a quarter of them, and a decay inside it."""
    frame = torch.arange(given.q.shape[2], device=given.q.device) // given.plan.block
    apart = (frame.unique()[:, None] - frame.unique()).abs().to(given.q.dtype)
    bias = torch.zeros_like(apart).masked_fill(apart > max(1, len(apart) // 8), float("-inf"))
    return FrameTable(rows=frame, columns=frame, bias=bias, gain=1 / (1 + apart / 8), positive=True)


def _tabled(given: Inputs) -> Tensor:
    table, logits = _table(given), (given.q * given.scale) @ given.k.mT
    gain, bias = (x[table.rows][:, table.columns] for x in (table.gain, table.bias) if x is not None)
    return (torch.where(logits > 0, gain * logits, logits) + bias).softmax(-1) @ given.v


def _table_work(given: Inputs) -> float:
    table = _table(given)
    size = torch.bincount(table.columns).double()
    return 2 * given.square * float(size @ (table.bias == 0).double() @ size) / len(table.columns) ** 2


OPERATORS: dict[str, Operator] = {
    "block_sparse": Operator(
        run=lambda x, impl: block_sparse(x.q, x.k, x.v, x.plan, impl=impl),
        plain=_sparse,
        work=_sparse_work,
        formula="4 * B * H * N^2 * D * density",
        impls=get_args(Impl),
    ),
    "block_sparse with tail": Operator(
        run=lambda x, impl: block_sparse(x.q, x.k, x.v, x.plan, tail=True, impl=impl),
        plain=lambda x: _with_tail(x, x.plan.keep),
        work=_sparse_work,
        formula="4 * B * H * N^2 * D * density; the tail is not counted",
        impls=get_args(ThresholdImpl),
    ),
    "threshold": Operator(
        run=lambda x, impl: threshold_attention(x.q, x.k, x.v, block=x.plan.block, tau=x.tau, impl=impl)[0],
        plain=_threshold,
        work=_threshold_work,
        formula="4 * B * H * N^2 * D * share of exact blocks; the tail is not counted",
        impls=get_args(ThresholdImpl),
    ),
    "block_mass": Operator(
        run=lambda x, impl: block_mass(x.q, x.k, x.lse, x.plan.block, impl=impl),
        plain=_mass,
        work=lambda x: x.square,
        formula="2 * B * H * N^2 * D",
    ),
    "pool": Operator(
        run=_our_pool,
        plain=_pool,
        work=lambda x: x.bytes,
        formula="bytes of B * H * N * D, read once",
        unit="GB/s",
    ),
    "frame_table": Operator(
        run=lambda x, impl: frame_table(x.q, x.k, x.v, _table(x), impl=impl),
        plain=_tabled,
        work=_table_work,
        formula="4 * B * H * N^2 * D * share of pairs of frames that are read",
        impls=get_args(TableImpl),
    ),
    "permute": Operator(
        run=lambda x, impl: permute(x.k, x.order, impl=impl),
        plain=lambda x: x.k[:, :, x.order[0, 0]],
        work=lambda x: 2 * x.bytes,
        formula="bytes of B * H * N * D, read and written",
        unit="GB/s",
    ),
}
"""Operators by name; the first word is the folder in `genkit.attention.operators`."""


def own_impl(operator: Operator, asked: str) -> str:
    """Return ``asked``, the implementation given to the command, if the operator has it, else ``auto``."""
    return asked if asked in operator.impls else "auto"
