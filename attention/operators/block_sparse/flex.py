"""Block-sparse attention on PyTorch's compiled FlexAttention: the fast path on CPUs, a second opinion on GPUs.

The plan's table becomes the lists of FlexAttention's ``BlockMask`` directly, so an ``N x N`` mask is never made. Blocks
that are read whole need no mask; only those cut by visible frames or padding are masked by token.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan, block_lists
from genkit.attention.operators.block_sparse.read_mask import ReadMask

GPU_TILE = 64
"""Tokens of a GPU tile for blocks below FlexAttention's usual 128, which its own tiles do not divide."""


def refusal(q: Tensor, plan: BlockPlan, with_lse: bool, with_tail: bool = False) -> str | None:
    """Return the reason FlexAttention does not support this call on this machine, or None."""
    if with_tail:
        return "it has no tail"
    if q.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"it does not compute in {q.dtype}"
    if q.device.type == "cpu":
        if with_lse:
            return "on a CPU it returns no log-sum-exp"
        if q.requires_grad and torch.is_grad_enabled():
            return "on a CPU it has no gradient; use torch.no_grad()"
        return _no_compiler()
    if q.device.type != "cuda":
        return f"it is not supported on {q.device.type} devices"
    if plan.block % 128 and plan.block not in (16, 32, 64):
        return f"on a GPU its blocks are 16, 32, 64 or a multiple of 128 tokens, not {plan.block}"
    return None


@cache
def _no_compiler() -> str | None:
    """Return the reason this machine cannot compile FlexAttention for its CPU, or None."""
    if sys.platform != "linux" or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return "on a CPU it needs Linux and AVX2"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "on a CPU it needs a C++ compiler; install g++ or set CXX"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "on a CPU it needs Python's header files; install python3-dev"
    return None


def forward(
    q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float, with_lse: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the output ``[B, H, Nq, D]`` and the natural log-sum-exp ``[B, H, Nq]``, or None if not asked for."""
    if q.device.type == "cpu":  # rows of one head that are far apart cost more than their copy
        q, k, v = (x.contiguous() for x in (q, k, v))
    small = q.device.type == "cuda" and read_mask.plan.block < 128
    tile = min(GPU_TILE, read_mask.plan.block)
    options = {"BLOCK_M": tile, "BLOCK_N": tile} if small else None
    lengths = (
        *q.shape,
        k.shape[2],
        *read_mask.plan.keep.shape[:2],
        *(read_mask.visible.shape if read_mask.visible is not None else ()),
    )
    attend = _compiled(q.device.type, q.dtype, lengths, read_mask.plan.block, read_mask.by_blocks, with_lse)
    out = attend(q, k, v, _block_mask(read_mask, q.shape[0]), scale, options)
    return out if with_lse else (out, None)


def _block_mask(read_mask: ReadMask, batch: int) -> Any:
    """Return the same decision as FlexAttention's ``BlockMask``."""
    from torch.nn.attention.flex_attention import BlockMask

    plan = read_mask.plan
    if read_mask.by_blocks:
        full = plan.lists
        partial = (torch.zeros_like(full[0]), torch.zeros_like(full[1]))
    else:
        some, whole = read_mask.blocks()
        partial, full = block_lists(some), block_lists(whole)
    return BlockMask.from_kv_blocks(
        partial[0],
        partial[1],
        full[0],
        full[1],
        BLOCK_SIZE=plan.block,
        mask_mod=_mask_mod(read_mask, batch),
        seq_lengths=(plan.queries, plan.keys),
    )


def _mask_mod(read_mask: ReadMask, batch: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None:
    """Return the mask of single tokens inside blocks that are not read whole, or None."""
    if read_mask.by_blocks:
        return None
    tokens = read_mask.tokens()
    rows, cols, table, valid = tokens.rows, tokens.cols, tokens.table, tokens.valid.expand(batch, -1).contiguous()

    def mask_mod(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return table[rows[query], cols[key]] & valid[b, key]

    return mask_mod


@cache
def _compiled(*key: object) -> Callable[..., Any]:
    """Compile FlexAttention for one combination of device, dtype, lengths, block, kind of mask and kind of result.

    Lengths are fixed: compiled for varying ones, masks of single tokens do not build on a CPU (torch 2.13). Each
    combination has its own code object because PyTorch counts recompilations, and gives up, by code object.
    """
    from torch.nn.attention.flex_attention import flex_attention

    flex: Callable[..., Any] = flex_attention  # its overloads do not take a bool that is not literal
    with_lse = bool(key[-1])

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Any, scale: float, options: Any) -> Any:
        return flex(q, k, v, block_mask=mask, scale=scale, return_lse=with_lse, kernel_options=options)

    code = attend.__code__.replace(co_name=f"attend_{_compiled.cache_info().currsize}")
    own = FunctionType(code, attend.__globals__, code.co_name, closure=attend.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False)
