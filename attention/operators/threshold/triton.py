"""Threshold attention as one Triton kernel: it decides, reads and adds the tail in a single pass.

A program processes one query block. It goes over the means of the key blocks in groups: their logits with its queries
give the scores that decide which blocks are exact, and are at the same time the tail of the others. No mask is stored.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.geometry.blocks import count_in_blocks
from genkit.attention.operators import triton as shared
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.pool import pool
from genkit.attention.operators.threshold.launch import TABLE
from genkit.attention.operators.threshold.plan import spread_of
from genkit.attention.operators.triton import LOG2E, batch_stride, load_queries, online_softmax_update, strides


def refusal(q: Tensor, block: int) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    if block not in (16, 32, 64, 128):
        return f"its blocks are 16, 32, 64 or 128 tokens, not {block}"
    if not 16 <= q.shape[3] <= 256:
        return f"its heads are 16 to 256 wide, not {q.shape[3]}"
    return shared.refusal(_forward, q)


def forward(
    q: Tensor, k: Tensor, v: Tensor, block: int, tau: float, scale: float, sinks: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the output ``[B, H, N, D]`` and the number of exact blocks int32 ``[B, H, blocks]``."""
    exists = torch.ones(1, k.shape[2], dtype=torch.bool, device=k.device) if valid is None else valid
    count = count_in_blocks(exists, block).float()
    (keys, _), (values, _) = pool(k, block, valid=valid), pool(v, block, valid=valid)
    mean, var = spread_of(keys, block, valid)
    means = (x.contiguous() for x in (keys.to(k.dtype), values.to(v.dtype)))  # the kernel assumes packed rows
    spread = (x.contiguous() for x in (mean, var))
    return attend(q, k, v, *means, count.log2(), *spread, sinks, exists, block, tau, scale)


@torch.library.custom_op("genkit::threshold", mutates_args=())
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    values: Tensor,
    count: Tensor,
    mean: Tensor,
    var: Tensor,
    sinks: Tensor,
    valid: Tensor,
    block: int,
    tau: float,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Run the kernel, as an operator of PyTorch; ``forward`` makes means and spread."""
    batch, heads, tokens, width = q.shape
    out, exact = _empty(q, v, block)
    launch = TABLE.choose_for(q, block)
    _forward[(exact.shape[2], batch * heads)](
        q,
        k,
        v,
        out,
        exact,
        keys,
        values,
        count,
        mean,
        var,
        sinks,
        valid,
        *strides(q, k, v),
        batch_stride(count),
        batch_stride(valid),
        heads,
        tokens,
        exact.shape[2],
        scale,
        tau,
        **constants(launch, width, block, q.dtype),
        **launch.keywords(),
    )
    return out, exact


def constants(launch: Launch, width: int, block: int, dtype: torch.dtype) -> dict[str, object]:
    """Return the compile-time constants of the kernel."""
    return {
        "WIDTH": width,
        "PADDED": max(16, triton.next_power_of_2(width)),
        "BLOCK": block,
        "GROUP": launch.keys,
        "PRECISION": "ieee" if dtype == torch.float32 else "tf32",
    }


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    block = rest[-3]
    assert isinstance(block, int)
    return _empty(q, v, block)


def _empty(q: Tensor, v: Tensor, block: int) -> tuple[Tensor, Tensor]:
    out = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)
    return out, torch.empty(*q.shape[:2], -(-q.shape[2] // block), dtype=torch.int32, device=q.device)


@triton.jit
def _forward(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    exact_ptr,
    keys_ptr,
    values_ptr,
    count_ptr,
    mean_ptr,
    var_ptr,
    sinks_ptr,
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
    valid_b,
    heads,
    tokens,
    blocks,
    scale,
    tau,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Process one query block of one head."""
    head_of_all = tl.program_id(1).to(tl.int64)
    batch, head = head_of_all // heads, head_of_all % heads
    mine = tl.program_id(0)
    inside = tl.arange(0, BLOCK)
    row = mine * BLOCK + inside
    row_ok = row < tokens
    channel = tl.arange(0, PADDED)
    channel_ok = channel < WIDTH
    q = load_queries(q_ptr + batch * q_b + head * q_h, row, row_ok, channel, channel_ok, q_n, q_d)
    rows = tl.sum(row_ok.to(tl.float32), 0)

    center = tl.sum(q.to(tl.float32), 0) / rows
    mean = tl.load(mean_ptr + head_of_all * WIDTH + channel, mask=channel_ok, other=0.0)
    var = tl.load(var_ptr + head_of_all * WIDTH + channel, mask=channel_ok, other=0.0)
    level = scale * tl.sum(center * mean, 0)
    level += tau * tl.sqrt(scale * scale * tl.sum(center * center * var, 0) + 1e-6)
    all_exact = tl.load(sinks_ptr + mine).to(tl.int32)

    top = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    acc = tl.zeros([BLOCK, PADDED], tl.float32)
    read = 0
    for start in range(0, blocks, GROUP):
        far = start + tl.arange(0, GROUP)
        far_ok = far < blocks
        at = (head_of_all * blocks + far)[:, None] * WIDTH + channel[None]
        mask = far_ok[:, None] & channel_ok[None]
        keys = tl.load(keys_ptr + at, mask=mask, other=0.0)
        values = tl.load(values_ptr + at, mask=mask, other=0.0)
        count = tl.load(count_ptr + batch * count_b + far, mask=far_ok, other=float("-inf"))
        logits = tl.dot(q, tl.trans(keys), input_precision=PRECISION) * scale
        score = tl.sum(keys.to(tl.float32) * center[None], 1) * scale
        near = (far >= mine - 1) & (far <= mine + 1)
        sink = tl.load(sinks_ptr + far, mask=far_ok, other=0) != 0
        exact = far_ok & ((score > level) | near | sink | (all_exact != 0))
        tail = far_ok & (exact == 0) & (count > float("-inf"))
        logits = tl.where(tail[None], logits * LOG2E + count[None], float("-inf"))
        top, total, acc = online_softmax_update(logits, values, top, total, acc, True, PRECISION)
        read += tl.sum(exact.to(tl.int32), 0)
        for i in range(GROUP):
            if tl.sum((exact & (far == start + i)).to(tl.int32), 0) > 0:
                key = (start + i) * BLOCK + inside
                key_ok = key < tokens
                key_ok = key_ok & (tl.load(valid_ptr + batch * valid_b + key, mask=key_ok, other=0) != 0)
                token_mask = key_ok[:, None] & channel_ok[None]
                k_at = k_ptr + batch * k_b + head * k_h + key.to(tl.int64)[:, None] * k_n + channel[None] * k_d
                v_at = v_ptr + batch * v_b + head * v_h + key.to(tl.int64)[:, None] * v_n + channel[None] * v_d
                k = tl.load(k_at, mask=token_mask, other=0.0)
                v = tl.load(v_at, mask=token_mask, other=0.0)
                near_logits = tl.dot(q, tl.trans(k), input_precision=PRECISION) * (scale * LOG2E)
                near_logits = tl.where(key_ok[None], near_logits, float("-inf"))
                top, total, acc = online_softmax_update(near_logits, v, top, total, acc, True, PRECISION)

    out = acc / tl.where(total == 0, 1.0, total)[:, None]
    out_at = out_ptr + (head_of_all * tokens + row)[:, None] * WIDTH + channel[None]
    tl.store(out_at, out.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & channel_ok[None])
    tl.store(exact_ptr + head_of_all * blocks + mine, read)
