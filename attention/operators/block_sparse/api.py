"""Attention over the blocks of keys that a plan keeps.

Shape letters, here and in this folder:
    B batch    H heads    Nq, Nk query and key tokens    D head width    Qb, Kb query and key blocks    F frames
"""

from typing import Literal, get_args, overload

import torch
from torch import Tensor

from genkit.attention.geometry.blocks import without_padding
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import flex, gather, reference, xformers
from genkit.attention.operators.block_sparse.read_mask import ReadMask

Impl = Literal["auto", "triton", "gather", "flex", "xformers", "reference"]


@overload
def block_sparse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: BlockPlan,
    *,
    scale: float | None = None,
    frames_q: Tensor | None = None,
    frames_k: Tensor | None = None,
    visible: Tensor | None = None,
    valid: Tensor | None = None,
    tail: bool = False,
    impl: Impl = "auto",
    return_lse: Literal[False] = False,
) -> Tensor: ...


@overload
def block_sparse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: BlockPlan,
    *,
    scale: float | None = None,
    frames_q: Tensor | None = None,
    frames_k: Tensor | None = None,
    visible: Tensor | None = None,
    valid: Tensor | None = None,
    tail: bool = False,
    impl: Impl = "auto",
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def block_sparse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: BlockPlan,
    *,
    scale: float | None = None,
    frames_q: Tensor | None = None,
    frames_k: Tensor | None = None,
    visible: Tensor | None = None,
    valid: Tensor | None = None,
    tail: bool = False,
    impl: Impl = "auto",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Compute softmax attention in which a query reads a key only if all restrictions allow it.

    Args:
        q: ``[B, H, Nq, D]``.
        k, v: ``[B, H, Nk, D]``; dtype and device of ``q``. Any strides.
        plan: the blocks that are read, for ``Nq`` x ``Nk`` tokens; a batch or head axis of 1 is shared.
        scale: factor on the logits; None is ``D ** -0.5``.
        frames_q, frames_k: int64 ``[Nq]`` and ``[Nk]``, latent frame of each token; -1 is text, which reads and is read
            by all. Needed with ``visible``, and without effect otherwise.
        visible: bool ``[F, F]``, which key frames (columns) a query frame reads; None is all.
        valid: bool ``[B or 1, Nk]``; False keys are padding and never read; None is all.
        tail: True counts a block that the plan leaves out as its number of keys, all at their mean, instead of not at
            all; not with ``visible``.
        impl: ``"triton"`` is the kernel for CUDA devices; ``"gather"`` is the fast path on CPUs; ``"reference"`` runs
            anywhere and defines the result; ``"flex"`` is PyTorch's FlexAttention; ``"xformers"`` supports full and
            windowed attention on a GPU. An explicit choice never falls back; ``"auto"`` is that of ``auto_impl``.
        return_lse: True returns the natural log-sum-exp of the scaled logits as well.

    Returns:
        ``[B, H, Nq, D]`` in the dtype of ``q``, accumulated in float32 (float64 for float64); with ``return_lse`` also
        float ``[B, H, Nq]``. A query that reads nothing gives 0, and -inf.

    Raises:
        ValueError: a shape or choice above is not respected, or an explicit choice does not support this call here.
    """
    _check(q, k, v, plan)
    _check_restrictions(q, k, frames_q, frames_k, visible, valid, tail)
    plan = plan.to(q.device)
    frames_q, frames_k, visible, valid = (
        None if x is None else x.to(q.device) for x in (frames_q, frames_k, visible, valid)
    )
    read_mask = ReadMask(plan, frames_q, frames_k, visible, valid)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    chosen = auto_impl(q, k, v) if impl == "auto" else impl
    if valid is not None and chosen != "triton":  # whose loads pass it by
        k, v = (without_padding(x, valid) for x in (k, v))
    out, lse = _run(chosen, q, k, v, read_mask, scale, return_lse, tail)
    if not return_lse:
        return out
    assert lse is not None
    return out, lse


def _run(
    impl: str, q: Tensor, k: Tensor, v: Tensor, read_mask: ReadMask, scale: float, return_lse: bool, tail: bool
) -> tuple[Tensor, Tensor | None]:
    """Run one implementation, or raise with the reason that it cannot."""
    if impl == "reference":
        return reference.forward(q, k, v, read_mask, scale, tail)
    if impl == "gather":
        _require(impl, gather.refusal(q, k, v))
        return gather.forward(q, k, v, read_mask, scale, return_lse, tail)
    if impl == "flex":
        _require(impl, flex.refusal(q, read_mask.plan, return_lse, tail))
        return flex.forward(q, k, v, read_mask, scale, return_lse)
    if impl == "xformers":
        _require(impl, xformers.refusal(q, read_mask, return_lse, tail))
        return xformers.forward(q, k, v, read_mask, scale), None
    if impl == "triton":
        from genkit.attention.operators.block_sparse import triton

        _require(impl, triton.refusal(q))
        return triton.forward(q, k, v, read_mask, scale, tail)
    raise ValueError(f"impl={impl!r} is unknown; known: {', '.join(get_args(Impl))}")


def _require(impl: str, reason: str | None) -> None:
    if reason:
        raise ValueError(f"impl={impl!r} cannot do this call: {reason}; or use impl='auto'")


def auto_impl(q: Tensor, k: Tensor, v: Tensor) -> Literal["triton", "gather", "reference"]:
    """Return the choice of ``impl="auto"``: Triton on a GPU, gathered blocks on a CPU, else the definition."""
    if q.device.type == "cuda":
        from genkit.attention.operators.block_sparse import triton

        return "reference" if triton.refusal(q) else "triton"
    return "reference" if gather.refusal(q, k, v) else "gather"


def _check(q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan) -> None:
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or q.shape[:2] != k.shape[:2] or q.shape[3] != k.shape[3]:
        raise ValueError(
            f"block_sparse takes q [B, H, Nq, D] and k, v [B, H, Nk, D], got {list(q.shape)}, {list(k.shape)} and "
            f"{list(v.shape)}; repeat the keys of grouped heads first"
        )
    if len({(x.dtype, x.device) for x in (q, k, v)}) > 1:
        raise ValueError(
            f"q, k and v must share dtype and device, got {[(str(x.dtype), str(x.device)) for x in (q, k, v)]}"
        )
    if (plan.queries, plan.keys) != (q.shape[2], k.shape[2]):
        raise ValueError(
            f"the plan is for {plan.queries} x {plan.keys} tokens, q and k have {q.shape[2]} x {k.shape[2]}; "
            "make a plan for this shape"
        )
    if any(n not in (1, m) for n, m in zip(plan.keep.shape[:2], q.shape[:2], strict=True)):
        raise ValueError(
            f"the plan is for batch and heads {list(plan.keep.shape[:2])}, q has {list(q.shape[:2])}; each must be "
            "the same or 1"
        )


def _check_restrictions(
    q: Tensor,
    k: Tensor,
    frames_q: Tensor | None,
    frames_k: Tensor | None,
    visible: Tensor | None,
    valid: Tensor | None,
    tail: bool,
) -> None:
    if visible is not None and (frames_q is None or frames_k is None):
        raise ValueError("visible needs frames_q and frames_k, the latent frame of each token")
    if visible is not None and tail:
        raise ValueError("tail counts whole blocks by their mean and cannot be cut by visible frames; leave one out")
    if visible is not None and (visible.dtype != torch.bool or visible.ndim != 2):
        raise ValueError(f"visible must be a bool table [F, F], got {visible.dtype} {list(visible.shape)}")
    for name, frames, tokens in (("frames_q", frames_q, q.shape[2]), ("frames_k", frames_k, k.shape[2])):
        if frames is not None and frames.shape != (tokens,):
            raise ValueError(f"{name} must hold one frame for each of {tokens} tokens, got {list(frames.shape)}")
    if valid is not None and (
        valid.dtype != torch.bool or valid.shape not in ((1, k.shape[2]), (q.shape[0], k.shape[2]))
    ):
        raise ValueError(f"valid must be bool [{q.shape[0]} or 1, {k.shape[2]}], got {valid.dtype} {list(valid.shape)}")
