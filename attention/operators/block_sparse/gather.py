"""Block-sparse attention by gathering: the fast path on CPUs, without a compiler.

The key blocks of a query block are copied next to one another, and PyTorch's dense attention runs over the copies, for
as many query blocks at once, of all heads, as read the same number of key blocks and fit into a cache.
"""

import math
import threading
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.geometry.blocks import in_blocks
from genkit.attention.geometry.plan import block_lists
from genkit.attention.operators.block_sparse.read_mask import ReadMask, Tail, Tokens
from genkit.attention.operators.block_sparse.workers import each

INF = float("inf")
GATHERED_BYTES = 1 << 22
"""Keys and values that a thread copies at a time; more would not stay in a processor's cache."""


def refusal(*tensors: Tensor) -> str | None:
    """Return the reason a call with these queries, keys and values is not supported, or None."""
    if tensors[0].device.type != "cpu":
        return f"it is for CPUs, and these queries are on {tensors[0].device.type}"
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it has no gradient; use torch.no_grad()"
    return None


def forward(
    q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float, with_lse: bool, with_tail: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the output ``[B, H, Nq, D]`` and the natural log-sum-exp ``[B, H, Nq]``, or None if not asked for."""
    if read_mask.all:
        return _attend(q, k, v, None, scale, with_lse)
    rows = _Rows.of(q, k, v, read_mask, with_tail)
    out = q.new_empty(*rows.queries.shape[:2], v.shape[3])
    lse = q.new_empty(rows.queries.shape[:2], dtype=_wide(q)) if with_lse else None

    def fill(group: slice) -> None:
        part, of_part = _attend(*rows.read(group), scale, with_lse)
        out[rows.number[group]] = part[:, 0]
        if lse is not None and of_part is not None:
            lse[rows.number[group]] = of_part[:, 0]

    each(fill, rows.groups())
    return _whole(out, q), None if lse is None else _whole(lse, q)


def _whole(rows: Tensor, q: Tensor) -> Tensor:
    """Return ``[B, H, Nq, ...]`` from ``[R, block, ...]``."""
    return rows.unflatten(0, (*q.shape[:2], -1)).flatten(2, 3)[:, :, : q.shape[2]]


def _attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, with_lse: bool
) -> tuple[Tensor, Tensor | None]:
    """Run dense attention with ``bias`` [G, 1, queries or 1, N] on the logits; None is none."""
    if not k.shape[2]:
        return q.new_zeros(*q.shape[:3], v.shape[3]), q.new_full(q.shape[:3], -INF, dtype=_wide(q))
    mask = None if bias is None else bias.expand(-1, -1, q.shape[2], -1)
    if with_lse:  # unlike its public form, this operator assumes adjacent channels of a token
        q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask, scale=scale)
    else:
        out, lse = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale), None
    if bias is None:
        return out, lse
    nothing = (bias == -INF).all(-1)  # the result of a query without keys depends on the backend
    return out.masked_fill(nothing[..., None], 0), None if lse is None else lse.masked_fill(nothing, -INF)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Rows:
    """The query blocks of all batches and heads, R = B H Qb, sorted by how much they read, and their keys."""

    number: Tensor
    """int64 ``[R]``, ``(batch H + head) Qb + query block``."""
    place: Tensor
    """int64 ``[R]``, row of the plan, which batches and heads may share."""
    first: Tensor
    """int64 ``[R, 1]``, row of ``keys`` with the first block of the batch and head."""
    queries: Tensor
    """``[R, block, D]`` in the order of their numbers; a shorter last block is padded with zeros."""
    keys: Tensor
    """``[B H Kb, block D]``, padded as well."""
    values: Tensor
    """The same."""
    heads: int
    count: list[int]
    """Key blocks that each row reads."""
    cut: list[bool]
    """True if a row reads one of them only in part."""
    listed: Tensor
    """int32 ``[rows of the plan, Kb]``, the listed blocks."""
    keep: Tensor
    """bool, the same as a table."""
    read_mask: ReadMask
    tokens: Tokens
    tail: Tail | None

    @staticmethod
    def of(q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, with_tail: bool) -> "_Rows":
        """Cut queries, keys and values into blocks."""
        plan = read_mask.plan
        some, whole = (torch.zeros_like(plan.keep), plan.keep) if read_mask.by_blocks else read_mask.blocks()
        keep = some | whole
        count, listed = plan.lists if read_mask.by_blocks else block_lists(keep)
        if plan.keys % plan.block:
            some = torch.cat([some[..., :-1], keep[..., -1:]], -1)
        place = torch.arange(count.numel()).view(count.shape).expand(*q.shape[:2], -1).flatten()
        number = count.flatten()[place].argsort(descending=True, stable=True)
        place = place[number]
        return _Rows(
            number=number,
            place=place,
            first=number[:, None] // keep.shape[2] * keep.shape[3],
            queries=in_blocks(q, plan.block).flatten(0, 2),
            keys=in_blocks(k, plan.block).flatten(0, 2).flatten(1),
            values=in_blocks(v, plan.block).flatten(0, 2).flatten(1),
            heads=q.shape[1],
            count=count.flatten()[place].tolist(),
            cut=some.any(-1).flatten()[place].tolist(),
            listed=listed.flatten(0, 2),
            keep=keep.flatten(0, 2),
            read_mask=read_mask,
            tokens=read_mask.tokens(),
            tail=read_mask.tail(k, v) if with_tail else None,
        )

    def groups(self) -> list[slice]:
        """Return groups of rows with equally many blocks that are computed together, ``GATHERED_BYTES`` at most."""
        bytes_of_block = (self.keys.shape[1] + self.values.shape[1]) * self.keys.element_size()
        groups, begin = [], 0
        for count, rows in groupby(self.count):
            end = begin + len(list(rows))
            most = max(1, GATHERED_BYTES // (bytes_of_block * max(1, count)))
            groups += [slice(start, min(start + most, end)) for start in range(begin, end, most)]
            begin = end
        return groups

    def read(self, group: slice) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return queries, keys and values ``[G, 1, tokens, D]`` of some rows, and the bias of their logits or None."""
        block = self.read_mask.plan.block
        queries = self.queries[self.number[group], None]
        listed = self.listed[self.place[group], : self.count[group.start]]
        pick = (self.first[group] + listed).flatten()
        keys, values = (
            _pick(name, table, pick).view(len(queries), 1, listed.shape[1] * block, table.shape[1] // block)
            for name, table in (("keys", self.keys), ("values", self.values))
        )
        if self.tail is None:
            return queries, keys, values, self._bias(group, listed) if any(self.cut[group]) else None
        head = self._head(group)
        keys = torch.cat([keys, self.tail.keys.flatten(0, 1)[head, None].to(keys.dtype)], 2)
        values = torch.cat([values, self.tail.values.flatten(0, 1)[head, None].to(values.dtype)], 2)
        bias = torch.cat([self._bias(group, listed), self._bias_of_tail(group, self.tail.count)], 3)
        return queries, keys, values, bias

    def _bias(self, group: slice, listed: Tensor) -> Tensor:
        """Return ``[G, 1, queries or 1, tokens]`` for the listed blocks: -inf for what is not read, else 0."""
        plan = self.read_mask.plan
        inside = torch.arange(plan.block)
        token = (listed[..., None] * plan.block + inside).flatten(1)
        read, token = token < plan.keys, token.clamp_max(plan.keys - 1)
        read = (read & self._of_batch(self.tokens.valid, group).gather(1, token.long()))[:, None]
        if self.read_mask.visible is not None:
            query = (self.number[group] % plan.keep.shape[2])[:, None] * plan.block + inside
            row = self.tokens.rows[query.clamp_max(plan.queries - 1)]
            read = read & self.tokens.table[row[:, :, None], self.tokens.cols[token][:, None]]
        return torch.zeros(read.shape, dtype=_wide(self.keys)).masked_fill_(~read, -INF)[:, None]

    def _bias_of_tail(self, group: slice, count: Tensor) -> Tensor:
        """Return ``[G, 1, 1, Kb]``: the mean of a block that is left out counts as its number of keys."""
        size = self._of_batch(count, group)
        return size.log().masked_fill(self.keep[self.place[group]], -INF)[:, None, None]

    def _head(self, group: slice) -> Tensor:
        """Return the number of the batch and head of each row, int64 ``[G]``."""
        return self.number[group] // self.read_mask.plan.keep.shape[2]

    def _of_batch(self, x: Tensor, group: slice) -> Tensor:
        """Return the row of ``x`` [B or 1, ...] for each row."""
        head = self._head(group)
        return x[head // self.heads] if len(x) > 1 else x.expand(len(head), -1)


def _pick(name: str, table: Tensor, rows: Tensor) -> Tensor:
    """Copy rows of a table into memory that this thread reuses: new memory costs several times as much as the copy."""
    shape = (len(rows), table.shape[1])
    room = getattr(_mine, name, None)
    if room is None or room.dtype != table.dtype or room.numel() < math.prod(shape):
        with torch.inference_mode(False):  # what is made in that mode cannot be written to outside it
            room = table.new_empty(math.prod(shape))
        setattr(_mine, name, room)
    return torch.index_select(table, 0, rows, out=room[: math.prod(shape)].view(shape))


_mine = threading.local()
"""Memory of a thread for its copies."""


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
