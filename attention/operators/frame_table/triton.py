"""Attention with a table as one Triton kernel: a program processes one tile of queries over the tiles that it may read.

A tile contains queries of one row of the table, so that its numbers are one vector over the keys. Where groups are
shorter than ``MIXED_BELOW`` queries (one token a frame, as in the temporal attention of a UNet) tiles contain several
rows, and each pair of query and key looks its numbers up.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.operators import triton as shared
from genkit.attention.operators.frame_table.launch import MIXED, TABLE
from genkit.attention.operators.frame_table.table import FrameTable
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.triton import LOG2E, batch_stride, load_queries, online_softmax_update, strides

MIXED_BELOW = 16
"""Queries of a group, on average, below which tiles contain several groups."""


def refusal(q: Tensor) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    if not 16 <= q.shape[3] <= 256:
        return f"its heads are 16 to 256 wide, not {q.shape[3]}"
    if q.requires_grad and torch.is_grad_enabled():
        return "it has no gradient; use torch.no_grad()"
    return shared.refusal(_forward, q)


def forward(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """Return ``[B, H, Nq, D]``; see ``frame_table``."""
    mixed, device = len(table.runs) * MIXED_BELOW > q.shape[2], q.device
    launch = launch_of(q, mixed)
    indices, numbers = table.kept((launch, device, mixed), lambda: _on(device, table, launch, mixed))
    exists = torch.ones(1, k.shape[2], dtype=torch.bool, device=device) if valid is None else valid
    return attend(q, k, v, *indices, *numbers, exists.to(torch.int8), table.positive, mixed, scale)


def _on(
    device: torch.device, table: FrameTable, launch: Launch, mixed: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Return tiles, lists, rows and columns as int32, and the numbers of the table as float32, on a device."""
    queries = table.rows.shape[-1]
    tiles = tiles_of(queries, launch.queries) if mixed else table.tiles(launch.queries)
    indices = (tiles, *table.readable(tiles, launch.keys), table.rows, table.columns)
    numbers = (table.bias, table.gain, table.peak)
    return (
        [x.to(device, torch.int32).contiguous() for x in indices],
        [None if x is None else x.to(device, torch.float32).contiguous() for x in numbers],
    )


def launch_of(q: Tensor, mixed: bool) -> Launch:
    """Return the launch numbers of a call."""
    return MIXED if mixed else TABLE.choose_for(q, 0)


def tiles_of(rows: int, size: int) -> Tensor:
    """Return begin and end of tiles of ``size`` rows, int32 ``[tiles, 2]``."""
    begin = torch.arange(0, rows, size, dtype=torch.int32)
    return torch.stack([begin, (begin + size).clamp_max(rows)], 1)


@torch.library.custom_op("genkit::frame_table", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    tiles: Tensor,
    count: Tensor,
    listed: Tensor,
    rows: Tensor,
    columns: Tensor,
    bias: Tensor,
    gain: Tensor | None,
    peak: Tensor | None,
    valid: Tensor,
    positive: bool,
    mixed: bool,
    scale: float,
) -> Tensor:
    """Run the kernel, as an operator of PyTorch; ``forward`` makes tiles and lists."""
    batch, heads, queries, width = q.shape
    out, launch = _empty(q, v), launch_of(q, mixed)
    _forward[(len(tiles), batch * heads)](
        q,
        k,
        v,
        out,
        tiles,
        count,
        listed,
        rows,
        columns,
        bias,
        bias if gain is None else gain,
        bias if peak is None else peak,
        valid,
        *strides(q, k, v),
        count.stride(0) if len(count) > 1 else 0,
        rows.stride(0) if rows.ndim > 1 else 0,
        batch_stride(valid),
        heads,
        queries,
        k.shape[2],
        listed.shape[2],
        bias.shape[1],
        scale * LOG2E.value,
        **constants(
            launch, width, q.dtype, gained=gain is not None, positive=positive, peaked=peak is not None, mixed=mixed
        ),
        **launch.keywords(),
    )
    return out


def constants(
    launch: Launch, width: int, dtype: torch.dtype, *, gained: bool, positive: bool, peaked: bool, mixed: bool
) -> dict[str, object]:
    """Return the compile-time constants of the kernel."""
    return {
        "WIDTH": width,
        "PADDED": max(16, triton.next_power_of_2(width)),
        "QUERIES": launch.queries,
        "KEYS": launch.keys,
        "GAINED": gained,
        "POSITIVE": positive,
        "PEAKED": peaked,
        "MIXED": mixed,
        "PRECISION": "ieee" if dtype == torch.float32 else "tf32",
    }


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: object) -> Tensor:
    return _empty(q, v)


def _empty(q: Tensor, v: Tensor) -> Tensor:
    return torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)


@triton.jit
def _forward(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    tiles_ptr,
    count_ptr,
    listed_ptr,
    rows_ptr,
    columns_ptr,
    bias_ptr,
    gain_ptr,
    peak_ptr,
    valid_ptr,
    q_b,
    q_h,
    q_n,
    q_d,
    k_b,
    k_h,
    k_n,
    k_d,
    v_b,
    v_h,
    v_n,
    v_d,
    count_b,
    rows_b,
    valid_b,
    heads,
    queries,
    keys,
    key_tiles,
    table_width,
    scale,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    GAINED: tl.constexpr,
    POSITIVE: tl.constexpr,
    PEAKED: tl.constexpr,
    MIXED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Process one tile of queries of one head; ``scale`` includes log2(e)."""
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    tile = tl.program_id(0)
    begin = tl.load(tiles_ptr + 2 * tile)
    row = begin + tl.arange(0, QUERIES)
    row_ok = row < tl.load(tiles_ptr + 2 * tile + 1)
    channel = tl.arange(0, PADDED)
    channel_ok = channel < WIDTH
    q = load_queries(q_ptr + batch * q_b + head * q_h, row, row_ok, channel, channel_ok, q_n, q_d)
    k_ptr += batch * k_b + head * k_h
    v_ptr += batch * v_b + head * v_h
    valid_ptr += batch * valid_b
    if MIXED:
        line = tl.load(rows_ptr + batch * rows_b + row, mask=row_ok, other=0)[:, None] * table_width
    else:
        line = tl.load(rows_ptr + batch * rows_b + begin) * table_width
    read = tl.load(count_ptr + batch * count_b + tile)
    listed_ptr += (batch * count_b + tile) * key_tiles

    height = tl.full([QUERIES], float("-inf"), tl.float32)
    if PEAKED:
        number = tl.load(listed_ptr)
        for step in range(read):
            following = tl.load(listed_ptr + tl.minimum(step + 1, read - 1))
            logits, _ = _logits(
                q, k_ptr, columns_ptr, bias_ptr, gain_ptr, valid_ptr, line, number, keys, k_n, k_d, channel,
                channel_ok, scale, KEYS, GAINED, POSITIVE, MIXED, PRECISION,
            )  # fmt: skip
            height = tl.maximum(height, tl.max(logits, 1))
            number = following
        height = tl.where(height == float("-inf"), 0.0, height)

    top = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    acc = tl.zeros([QUERIES, PADDED], tl.float32)
    number = tl.load(listed_ptr)
    for step in range(read):
        following = tl.load(listed_ptr + tl.minimum(step + 1, read - 1))
        logits, bias = _logits(
            q, k_ptr, columns_ptr, bias_ptr, gain_ptr, valid_ptr, line, number, keys, k_n, k_d, channel, channel_ok,
            scale, KEYS, GAINED, POSITIVE, MIXED, PRECISION,
        )  # fmt: skip
        key = number * KEYS + tl.arange(0, KEYS)
        key_ok = key < keys
        if PEAKED:
            column = tl.load(columns_ptr + key, mask=key_ok, other=0)
            logits += _entries(peak_ptr, line, column, MIXED) * height[:, None]
        logits += bias * LOG2E
        exists = key_ok & (tl.load(valid_ptr + key, mask=key_ok, other=0) != 0)
        v_at = v_ptr + key.to(tl.int64)[:, None] * v_n + channel[None] * v_d
        v = tl.load(v_at, mask=exists[:, None] & channel_ok[None], other=0.0)
        top, total, acc = online_softmax_update(logits, v, top, total, acc, True, PRECISION)
        number = following

    out = acc / tl.where(total == 0, 1.0, total)[:, None]
    out_at = out_ptr + (tl.program_id(1).to(tl.int64) * queries + row)[:, None] * WIDTH + channel[None]
    tl.store(out_at, out.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & channel_ok[None])


@triton.jit
def _logits(
    q, k_ptr, columns_ptr, bias_ptr, gain_ptr, valid_ptr, line, number, keys, k_n, k_d, channel, channel_ok, scale,
    KEYS: tl.constexpr, GAINED: tl.constexpr, POSITIVE: tl.constexpr, MIXED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return the gained logits of one tile of keys in the log2 domain, -inf where nothing is read, and the bias."""
    key = number * KEYS + tl.arange(0, KEYS)
    key_ok = key < keys
    column = tl.load(columns_ptr + key, mask=key_ok, other=0)
    key_ok = key_ok & (tl.load(valid_ptr + key, mask=key_ok, other=0) != 0)
    k_at = k_ptr + channel[:, None] * k_d + key.to(tl.int64)[None] * k_n
    k = tl.load(k_at, mask=channel_ok[:, None] & key_ok[None], other=0.0)
    logits = tl.dot(q, k, input_precision=PRECISION) * scale
    if GAINED:
        gained = logits * _entries(gain_ptr, line, column, MIXED)
        logits = tl.where(logits > 0, gained, logits) if POSITIVE else gained
    bias = _entries(bias_ptr, line, column, MIXED)
    hidden = (bias == float("-inf")) | (key_ok == 0)[None]
    return tl.where(hidden, float("-inf"), logits), tl.where(hidden, 0.0, bias)


@triton.jit
def _entries(table_ptr, line, column, MIXED: tl.constexpr):
    """Return the numbers of a tile, ``[queries, keys]`` or ``[1, keys]``."""
    return tl.load(table_ptr + line + column[None]) if MIXED else tl.load(table_ptr + line + column)[None]
