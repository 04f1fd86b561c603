"""Block mass as one Triton kernel: a program processes one block of queries over all keys."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.operators import triton as shared
from genkit.attention.operators.block_mass.launch import TABLE
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.triton import LOG2E, batch_stride, load_queries, strides


def refusal(q: Tensor, block: int) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    if block > 128:
        return f"its blocks have at most 128 tokens, not {block}"
    return shared.refusal(_forward, q)


def forward(q: Tensor, k: Tensor, lse: Tensor, block: int, scale: float, valid: Tensor | None) -> Tensor:
    """Return sums ``[B, H, Qb, Kb]``; see ``block_mass``."""
    counted = torch.ones(1, k.shape[2], dtype=torch.bool, device=k.device) if valid is None else valid
    return mass_of_blocks(q, k, lse.contiguous().float(), counted.to(torch.int8), block, scale)


@torch.library.custom_op("genkit::block_mass", mutates_args=())
def mass_of_blocks(q: Tensor, k: Tensor, lse: Tensor, valid: Tensor, block: int, scale: float) -> Tensor:
    """Run the kernel, as an operator of PyTorch; ``valid`` int8 ``[B or 1, Nk]``."""
    batch, heads, queries, width = q.shape
    mass = _empty(q, k, block)
    launch = TABLE.choose_for(q, block)
    _forward[(mass.shape[2], batch * heads)](
        q,
        k,
        lse,
        valid,
        mass,
        *strides(q, k),
        batch_stride(valid),
        heads,
        queries,
        k.shape[2],
        mass.shape[3],
        scale * LOG2E.value,
        LOG2E.value,
        **constants(launch, width, block, q.dtype),
        **launch.keywords(),
    )
    return mass


def constants(launch: Launch, width: int, block: int, dtype: torch.dtype) -> dict[str, object]:
    """Return the compile-time constants of the kernel."""
    return {
        "WIDTH": width,
        "PADDED": max(16, triton.next_power_of_2(width)),
        "BLOCK": block,
        "QUERIES": max(16, triton.next_power_of_2(block)),
        "KEYS": launch.keys,
        "PRECISION": "ieee" if dtype == torch.float32 else "tf32",
    }


@mass_of_blocks.register_fake
def _(q: Tensor, k: Tensor, lse: Tensor, valid: Tensor, block: int, scale: float) -> Tensor:
    return _empty(q, k, block)


def _empty(q: Tensor, k: Tensor, block: int) -> Tensor:
    return q.new_empty(*q.shape[:2], -(-q.shape[2] // block), -(-k.shape[2] // block), dtype=torch.float32)


@triton.jit
def _forward(
    q_ptr,
    k_ptr,
    lse_ptr,
    valid_ptr,
    mass_ptr,
    q_b,
    q_h,
    q_n,
    q_d,
    k_b,
    k_h,
    k_n,
    k_d,
    valid_b,
    heads,
    queries,
    keys,
    key_blocks,
    scale,
    log2e,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Process one block of queries of one head; ``scale`` includes log2(e)."""
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    inside = tl.arange(0, QUERIES)
    row = tl.program_id(0) * BLOCK + inside
    row_ok = (inside < BLOCK) & (row < queries)
    channel = tl.arange(0, PADDED)
    channel_ok = channel < WIDTH
    q = load_queries(q_ptr + batch * q_b + head * q_h, row, row_ok, channel, channel_ok, q_n, q_d)
    lse = tl.load(lse_ptr + tl.program_id(1).to(tl.int64) * queries + row, mask=row_ok, other=float("-inf")) * log2e
    row_ok = row_ok & (lse != float("-inf"))
    lse = tl.where(row_ok, lse, 0.0)
    place = mass_ptr + (tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)) * key_blocks
    for block in range(key_blocks):
        total = 0.0
        for start in range(0, BLOCK, KEYS):
            offset = start + tl.arange(0, KEYS)
            key = block * BLOCK + offset
            key_ok = (offset < BLOCK) & (key < keys)
            key_ok = key_ok & (tl.load(valid_ptr + batch * valid_b + key, mask=key_ok, other=0) != 0)
            k_at = k_ptr + batch * k_b + head * k_h + channel[:, None] * k_d + key.to(tl.int64)[None] * k_n
            k = tl.load(k_at, mask=channel_ok[:, None] & key_ok[None], other=0.0)
            weight = tl.exp2(tl.dot(q, k, input_precision=PRECISION) * scale - lse[:, None])
            total += tl.sum(tl.where(row_ok[:, None] & key_ok[None], weight, 0.0))
        tl.store(place + block, total)
