"""Gathering tokens as one Triton kernel: a program copies some rows."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from genkit.attention.operators import triton as shared
from genkit.attention.operators.launch import Launch
from genkit.attention.operators.permute.launch import TABLE


def refusal(x: Tensor) -> str | None:
    """Return the reason the kernel does not support this call here, or None."""
    return shared.place_refusal(_forward, x)


@torch.library.custom_op("genkit::permute", mutates_args=())
def gather_tokens(x: Tensor, order: Tensor) -> Tensor:
    """Run the kernel, as an operator of PyTorch; see ``permute``."""
    batch, heads, _, width = x.shape
    out = _empty(x, order)
    count = order.shape[2]
    order = order.contiguous()
    launch = TABLE.choose_for(x, block=0)
    _forward[(triton.cdiv(count, launch.queries), batch * heads)](
        x,
        order,
        out,
        *shared.strides(x),
        shared.batch_stride(order),
        shared.batch_stride(order, 1),
        heads,
        count,
        **constants(launch, width),
        **launch.keywords(),
    )
    return out


def constants(launch: Launch, width: int) -> dict[str, object]:
    """Return the compile-time constants of the kernel."""
    return {"WIDTH": width, "PADDED": triton.next_power_of_2(width), "ROWS": launch.queries}


@gather_tokens.register_fake
def _(x: Tensor, order: Tensor) -> Tensor:
    return _empty(x, order)


def _empty(x: Tensor, order: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:2], order.shape[2], x.shape[3])


@triton.jit
def _forward(
    x_ptr,
    order_ptr,
    out_ptr,
    x_b,
    x_h,
    x_n,
    x_d,
    order_b,
    order_h,
    heads,
    count,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Copy ``ROWS`` tokens of one head."""
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    place = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ok = place < count
    token = tl.load(order_ptr + batch * order_b + head * order_h + place, mask=ok, other=0).to(tl.int64)
    channel = tl.arange(0, PADDED)
    at = x_ptr + batch * x_b + head * x_h + token[:, None] * x_n + channel[None] * x_d
    mask = ok[:, None] & (channel < WIDTH)[None]
    row = tl.program_id(1).to(tl.int64) * count + place
    tl.store(out_ptr + row[:, None] * WIDTH + channel[None], tl.load(at, mask=mask), mask=mask)
