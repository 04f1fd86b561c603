"""Block-sparse attention as one Triton kernel: a program processes one tile of queries over its list of key blocks.

Whole blocks are read without masks; those that are ragged, or cut by visible frames or padding, come after them.
Softmax runs in float32 in powers of two. Offsets of tokens are int64: 120,000 tokens of 24 heads of width 128 in a
batch of two pass 2^31 elements.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.geometry.plan import Lists, split_lists
from genkit.attention.operators import triton as shared
from genkit.attention.operators.block_sparse.launch import TABLE
from genkit.attention.operators.block_sparse.read_mask import ReadMask
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.triton import (
    LN2,
    LOG2E,
    batch_stride,
    load_queries,
    online_softmax_update,
    strides,
)


def refusal(q: Tensor) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    if not 16 <= q.shape[3] <= 256:
        return f"its heads are 16 to 256 wide, not {q.shape[3]}"
    if q.requires_grad and torch.is_grad_enabled():
        return "it has no gradient; use torch.no_grad()"
    return shared.refusal(_forward, q)


def forward(
    q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float, with_tail: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the output ``[B, H, Nq, D]`` and the natural log-sum-exp float32 ``[B, H, Nq]``."""
    plan, tokens = read_mask.plan, read_mask.tokens()
    lists: Lists = plan.split_lists if read_mask.by_blocks else split_lists(plan, *read_mask.blocks())
    tail: tuple[Tensor | None, ...] = (None, None, None, None)
    if with_tail:
        far = read_mask.tail(k, v)
        tail = (
            far.keys.to(k.dtype).contiguous(),
            far.values.to(v.dtype).contiguous(),
            far.count.log2().float(),
            plan.keep.expand(*lists[1].shape).contiguous(),
        )
    return attend(q, k, v, *lists, tokens.rows, tokens.cols, tokens.table, tokens.valid, *tail, plan.block, scale)


@torch.library.custom_op("genkit::block_sparse", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    whole_count: Tensor,
    whole_block: Tensor,
    some_count: Tensor,
    some_block: Tensor,
    rows: Tensor,
    cols: Tensor,
    table: Tensor,
    valid: Tensor,
    tail_keys: Tensor | None,
    tail_values: Tensor | None,
    tail_count: Tensor | None,
    keep: Tensor | None,
    block: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Run the kernel, as an operator of PyTorch; ``forward`` makes lists, tokens and tail."""
    batch, heads, queries, width = q.shape
    out, lse = _empty(q, v)
    launch = TABLE.choose_for(q, block)
    tiles = triton.cdiv(block, launch.queries)
    grid = (triton.cdiv(queries, block) * tiles, batch * heads)
    _forward[grid](
        q,
        k,
        v,
        out,
        lse,
        whole_count,
        whole_block,
        some_count,
        some_block,
        rows,
        cols,
        table,
        valid,
        tail_keys if tail_keys is not None else k,
        tail_values if tail_values is not None else v,
        tail_count if tail_count is not None else lse,
        keep if keep is not None else valid,
        *strides(q, k, v, out),
        batch_stride(whole_count),
        batch_stride(whole_count, 1),
        batch_stride(valid),
        0 if tail_count is None else batch_stride(tail_count),
        heads,
        queries,
        k.shape[2],
        whole_block.shape[3],
        table.shape[1],
        scale * LOG2E.value,
        **constants(launch, width, block, q.dtype, tabled=table.numel() > 1, tail=keep is not None),
        **launch.keywords(),
    )
    return out, lse


def constants(
    launch: Launch, width: int, block: int, dtype: torch.dtype, *, tabled: bool, tail: bool
) -> dict[str, object]:
    """Return the compile-time constants of the kernel; ``tabled``: visible frames cut blocks."""
    return {
        "WIDTH": width,
        "PADDED": max(16, triton.next_power_of_2(width)),
        "BLOCK": block,
        "QUERIES": launch.queries,
        "KEYS": launch.keys,
        "TABLED": tabled,
        "TAIL": tail,
        "PRECISION": "ieee" if dtype == torch.float32 else "tf32",
    }


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return _empty(q, v)


def _empty(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    out = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)
    return out, torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)


@triton.jit
def _forward(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    lse_ptr,
    whole_count_ptr,
    whole_block_ptr,
    some_count_ptr,
    some_block_ptr,
    rows_ptr,
    cols_ptr,
    table_ptr,
    valid_ptr,
    tail_keys_ptr,
    tail_values_ptr,
    tail_count_ptr,
    keep_ptr,
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
    out_b,
    out_h,
    out_n,
    out_d,
    list_b,
    list_h,
    valid_b,
    count_b,
    heads,
    queries,
    keys,
    key_blocks,
    table_width,
    scale,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    TABLED: tl.constexpr,
    TAIL: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Process one tile of ``QUERIES`` rows of one head; ``scale`` includes log2(e)."""
    TILES: tl.constexpr = (BLOCK + QUERIES - 1) // QUERIES
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    query_block = tl.program_id(0) // TILES
    inside = (tl.program_id(0) % TILES) * QUERIES + tl.arange(0, QUERIES)
    row = query_block * BLOCK + inside
    row_ok = (inside < BLOCK) & (row < queries)
    channel = tl.arange(0, PADDED)
    channel_ok = channel < WIDTH
    q = load_queries(q_ptr + batch * q_b + head * q_h, row, row_ok, channel, channel_ok, q_n, q_d)
    k_ptr += batch * k_b + head * k_h
    v_ptr += batch * v_b + head * v_h
    list_at = batch * list_b + head * list_h + query_block
    row_frame = tl.load(rows_ptr + row, mask=row_ok, other=0) if TABLED else row

    top = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    acc = tl.zeros([QUERIES, PADDED], tl.float32)
    STEPS: tl.constexpr = (BLOCK + KEYS - 1) // KEYS
    for step in range(tl.load(whole_count_ptr + list_at) * STEPS):
        key_block = tl.load(whole_block_ptr + list_at * key_blocks + step // STEPS)
        offset = (step % STEPS) * KEYS + tl.arange(0, KEYS)
        key = key_block * BLOCK + offset
        seen = tl.full([QUERIES, KEYS], True, tl.int1)
        if BLOCK % KEYS != 0:
            seen = seen & (offset < BLOCK)[None]
        top, total, acc = _read(
            q, k_ptr, v_ptr, key, offset < BLOCK, seen, k_n, k_d, v_n, v_d, channel, channel_ok, scale, top, total, acc,
            WIDTH, PADDED, BLOCK % KEYS != 0, PRECISION,
        )  # fmt: skip
    for step in range(tl.load(some_count_ptr + list_at) * STEPS):
        key_block = tl.load(some_block_ptr + list_at * key_blocks + step // STEPS)
        offset = (step % STEPS) * KEYS + tl.arange(0, KEYS)
        key = key_block * BLOCK + offset
        key_ok = (offset < BLOCK) & (key < keys)
        key_ok = key_ok & (tl.load(valid_ptr + batch * valid_b + key, mask=key_ok, other=0) != 0)
        seen = tl.broadcast_to(key_ok[None], [QUERIES, KEYS])
        if TABLED:
            key_frame = tl.load(cols_ptr + key, mask=key_ok, other=0)
            seen = seen & (tl.load(table_ptr + row_frame[:, None] * table_width + key_frame[None]) != 0)
        top, total, acc = _read(
            q, k_ptr, v_ptr, key, key_ok, seen, k_n, k_d, v_n, v_d, channel, channel_ok, scale, top, total, acc,
            WIDTH, PADDED, True, PRECISION,
        )  # fmt: skip

    if TAIL:
        far_at = tl.program_id(1).to(tl.int64) * key_blocks * WIDTH
        for start in range(0, key_blocks, KEYS):
            far = start + tl.arange(0, KEYS)
            far_ok = far < key_blocks
            kept = tl.load(keep_ptr + list_at * key_blocks + far, mask=far_ok, other=1)
            count = tl.load(tail_count_ptr + batch * count_b + far, mask=far_ok, other=float("-inf"))
            far_ok = far_ok & (kept == 0) & (count > float("-inf"))
            at = far[:, None] * WIDTH + channel[None]
            mask = far_ok[:, None] & channel_ok[None]
            far_k = tl.load(tail_keys_ptr + far_at + at, mask=mask, other=0.0)
            far_v = tl.load(tail_values_ptr + far_at + at, mask=mask, other=0.0)
            logits = tl.dot(q, tl.trans(far_k), input_precision=PRECISION) * scale + count[None]
            logits = tl.where(far_ok[None], logits, float("-inf"))
            top, total, acc = online_softmax_update(logits, far_v, top, total, acc, True, PRECISION)

    out = acc / tl.where(total == 0, 1.0, total)[:, None]
    lse = tl.where(total == 0, float("-inf"), (top + tl.log2(total)) * LN2)
    out_at = out_ptr + batch * out_b + head * out_h + row.to(tl.int64)[:, None] * out_n + channel[None] * out_d
    tl.store(out_at, out.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & channel_ok[None])
    tl.store(lse_ptr + tl.program_id(1).to(tl.int64) * queries + row, lse, mask=row_ok)


@triton.jit
def _read(
    q, k_ptr, v_ptr, key, key_ok, seen, k_n, k_d, v_n, v_d, channel, channel_ok, scale, top, total, acc,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Update the running softmax with one tile of keys."""
    k_at = k_ptr + channel[:, None] * k_d + key.to(tl.int64)[None] * k_n
    v_at = v_ptr + key.to(tl.int64)[:, None] * v_n + channel[None] * v_d
    if MASKED:
        k = tl.load(k_at, mask=channel_ok[:, None] & key_ok[None], other=0.0)
        v = tl.load(v_at, mask=key_ok[:, None] & channel_ok[None], other=0.0)
    elif WIDTH == PADDED:
        k = tl.load(k_at)
        v = tl.load(v_at)
    else:
        k = tl.load(k_at, mask=channel_ok[:, None], other=0.0)
        v = tl.load(v_at, mask=channel_ok[None], other=0.0)
    logits = tl.dot(q, k, input_precision=PRECISION) * scale
    if MASKED:
        logits = tl.where(seen, logits, float("-inf"))
    return online_softmax_update(logits, v, top, total, acc, MASKED, PRECISION)
