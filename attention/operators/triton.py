"""Common code of the Triton kernels: where they can run, and the online softmax."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)
"""Logits are in the log2 domain inside the kernels; ``LOG2E.value`` is the number outside of them."""


def strides(*tensors: Tensor) -> tuple[int, ...]:
    """Return the strides of all axes of each tensor in turn, as kernels take them."""
    return tuple(stride for x in tensors for stride in x.stride())


def batch_stride(x: Tensor, axis: int = 0) -> int:
    """Return the stride of a batch axis; 0 where one entry serves all of the batch."""
    return 0 if x.shape[axis] == 1 else x.stride(axis)


def place_refusal(kernel: Any, x: Tensor) -> str | None:
    """Return the reason a kernel cannot run on the device of ``x``, or None."""
    if x.device.type != "cuda" and not _interpreted(kernel):
        return f"it needs a CUDA device, not {x.device.type} (or TRITON_INTERPRET=1 set before genkit is imported)"
    return None


def refusal(kernel: Any, x: Tensor, *, products: bool = True) -> str | None:
    """Return the reason a kernel does not support ``x`` here, or None; ``products``: it multiplies matrices."""
    if reason := place_refusal(kernel, x):
        return reason
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"it does not compute in {x.dtype}"
    if products and _interpreted(kernel) and x.dtype == torch.bfloat16:
        return "Triton's interpreter multiplies bfloat16 wrongly; use float32 or float16"
    return None


def _interpreted(kernel: Any) -> bool:
    return not hasattr(kernel, "cache_key")


@triton.jit
def online_softmax_update(logits, v, top, total, acc, MASKED: tl.constexpr, PRECISION: tl.constexpr):
    """Update the online softmax in the log2 domain with logits and their values."""
    higher = tl.maximum(top, tl.max(logits, 1))
    # A row that has read nothing yet stays at -inf, and -inf - -inf would be NaN.
    safe = tl.where(higher == float("-inf"), 0.0, higher) if MASKED else higher
    weight = tl.exp2(logits - safe[:, None])
    fade = tl.exp2(top - safe)
    acc = tl.dot(weight.to(v.dtype), v, acc * fade[:, None], input_precision=PRECISION)
    return higher, total * fade + tl.sum(weight, 1), acc


@triton.jit
def load_queries(q_ptr, row, row_ok, channel, channel_ok, q_n, q_d):
    """Return rows of one head, 0 where there is none."""
    at = q_ptr + row.to(tl.int64)[:, None] * q_n + channel[None] * q_d
    return tl.load(at, mask=row_ok[:, None] & channel_ok[None], other=0.0)
