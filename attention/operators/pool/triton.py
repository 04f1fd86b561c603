"""Pooled blocks as one Triton kernel: a program reads one block once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.operators import triton as shared
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.pool.launch import TABLE


def refusal(x: Tensor) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    return shared.refusal(_forward, x, products=False)


def forward(x: Tensor, block: int, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return means ``[B, H, Xb, D]`` and self-similarities ``[B, H, Xb]``; see ``pool``."""
    counted = torch.ones(1, x.shape[2], dtype=torch.bool, device=x.device) if valid is None else valid
    return pool_blocks(x, counted.to(torch.int8), block)


@torch.library.custom_op("genkit::pool", mutates_args=())
def pool_blocks(x: Tensor, valid: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Run the kernel, as an operator of PyTorch; ``valid`` int8 ``[B or 1, N]``."""
    batch, heads, tokens, width = x.shape
    mean, similarity = _empty(x, block)
    launch = TABLE.choose_for(x, block)
    _forward[(mean.shape[2], batch * heads)](
        x,
        valid,
        mean,
        similarity,
        *shared.strides(x),
        shared.batch_stride(valid),
        heads,
        tokens,
        mean.shape[2],
        **constants(launch, width, block),
        **launch.keywords(),
    )
    return mean, similarity


def constants(launch: Launch, width: int, block: int) -> dict[str, object]:
    """Return the compile-time constants of the kernel."""
    return {"WIDTH": width, "PADDED": triton.next_power_of_2(width), "BLOCK": block, "ROWS": launch.keys}


@pool_blocks.register_fake
def _(x: Tensor, valid: Tensor, block: int) -> tuple[Tensor, Tensor]:
    return _empty(x, block)


def _empty(x: Tensor, block: int) -> tuple[Tensor, Tensor]:
    shape = (*x.shape[:2], -(-x.shape[2] // block))
    return x.new_empty(*shape, x.shape[3], dtype=torch.float32), x.new_empty(shape, dtype=torch.float32)


@triton.jit
def _forward(
    x_ptr,
    valid_ptr,
    mean_ptr,
    similarity_ptr,
    x_b,
    x_h,
    x_n,
    x_d,
    valid_b,
    heads,
    tokens,
    blocks,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Process one block of one head."""
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    channel = tl.arange(0, PADDED)
    total = tl.zeros([PADDED], tl.float32)
    units = tl.zeros([PADDED], tl.float32)
    count = 0.0
    for start in range(0, BLOCK, ROWS):
        inside = start + tl.arange(0, ROWS)
        token = tl.program_id(0) * BLOCK + inside
        ok = (inside < BLOCK) & (token < tokens)
        ok = ok & (tl.load(valid_ptr + batch * valid_b + token, mask=ok, other=0) != 0)
        at = x_ptr + batch * x_b + head * x_h + token.to(tl.int64)[:, None] * x_n + channel[None] * x_d
        x = tl.load(at, mask=ok[:, None] & (channel < WIDTH)[None], other=0.0).to(tl.float32)
        length = tl.sqrt(tl.sum(x * x, 1))
        total += tl.sum(x, 0)
        units += tl.sum(x * (1.0 / tl.where(length > 1e-12, length, 1e-12))[:, None], 0)
        count += tl.sum(ok.to(tl.float32), 0)
    least = tl.maximum(count, 1.0)
    place = tl.program_id(1).to(tl.int64) * blocks + tl.program_id(0)
    tl.store(mean_ptr + place * WIDTH + channel, total / least, mask=channel < WIDTH)
    similarity = tl.sum(units * units, 0) / (least * least)
    tl.store(similarity_ptr + place, tl.where(count > 0, similarity, 1.0))
