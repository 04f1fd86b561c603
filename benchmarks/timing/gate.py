"""Correctness gate: operators must match float64 before they are timed.

The inputs are small, but have the dtype, head width and device of the timed ones, a ragged last block and a row that
reads nothing. The error of an operator may be twice that of single PyTorch operations in the same dtype, plus two
roundings.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.threshold import threshold_attention
from genkit.benchmarks.timing.baselines import reason_of
from genkit.benchmarks.timing.machine import dtype_name
from genkit.benchmarks.timing.operators import OPERATORS, Inputs, own_impl
from genkit.errors import GenkitError, UsageError

BLOCK = 64
"""Tokens of a block; the default of most planners."""
SELECTION = 0.02
"""Maximum share of threshold attention's block decisions that rounding may flip against the definition."""


class WrongKernelError(GenkitError):
    """The error of a kernel exceeds what its dtype allows, so its speed means nothing."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Comparison of one operator with float64."""

    operator: str
    impl: str
    dtype: str
    width: int
    block: int
    error: float
    """Largest absolute difference; infinite where the result is not finite."""
    bound: float
    """Maximum error allowed."""
    reason: str = ""
    """Reason it did not run at all; empty if it ran."""

    @property
    def correct(self) -> bool:
        """True if the operator may be timed."""
        return self.error <= self.bound


def require_correct(
    impl: str,
    dtype: torch.dtype,
    widths: Iterable[int],
    device: torch.device,
    *,
    blocks: Iterable[int] = (BLOCK,),
    others: int = BLOCK,
) -> list[dict[str, Any]]:
    """Check every operator and return the verdicts as rows.

    Args:
        impl: of ``block_sparse``; other operators without it use ``auto``.
        dtype: of the inputs.
        widths: of heads.
        device: where to compute.
        blocks: block sizes of ``block_sparse`` in tokens, each checked by itself.
        others: block size of the other operators in tokens.

    Raises:
        WrongKernelError: the error of one is too large, or it cannot run.
        UsageError: ``impl`` is not available here.
    """
    found = []
    for width in sorted(set(widths)):
        for block in sorted({*blocks, others}):
            given = small_inputs(dtype, width, device, block)
            names = [name for name in OPERATORS if block in blocks and "sparse" in name or block == others]
            found += list(_verdicts(names, given, impl))
        found.append(_selection(small_inputs(dtype, width, device, others), impl))
    if wrong := [x for x in found if not x.correct]:
        raise WrongKernelError(f"a wrong kernel is not timed: {'; '.join(map(_describe, wrong))}")
    return [asdict(x) for x in found]


def reason_not_to_time(operator: str, given: Inputs, impl: str) -> str | None:
    """Return the reason an operator does not run on ``given`` or is wrong, with its tail too; None if it is correct."""
    names = [name for name in OPERATORS if name == operator or name.startswith(f"{operator} ")]
    try:
        wrong = [x for x in _verdicts(names, given, impl) if not x.correct]
    except UsageError as error:
        return str(error)
    return _describe(wrong[0]) if wrong else None


def _describe(verdict: Verdict) -> str:
    name = f"{verdict.operator} ({verdict.impl}, {verdict.dtype}, D {verdict.width}, blocks of {verdict.block})"
    if verdict.reason:
        return f"{name} cannot run: {verdict.reason}"
    return f"{name} has an error of {verdict.error:.1e} where {verdict.bound:.1e} is allowed"


def _verdicts(names: Iterable[str], given: Inputs, impl: str) -> Iterator[Verdict]:
    """Yield one verdict for each operator, two for the extremes of threshold attention."""
    for name in names:
        for case in _cases(name, given):
            try:
                yield judge(name, case, own_impl(OPERATORS[name], impl))
            except ValueError as error:
                raise UsageError(str(error)) from error


def judge(name: str, given: Inputs, impl: str) -> Verdict:
    """Compare one operator with float64 on ``given``.

    Raises:
        ValueError: the operator does not have this implementation, or it does not support the inputs.
    """
    operator, dtype = OPERATORS[name], given.q.dtype
    exact, error, reason = operator.plain(given.double()), math.inf, ""
    try:
        error = distance(operator.run(given, impl), exact)
    except ValueError:
        raise
    except Exception as failed:  # a compiler of kernels may raise anything
        reason = reason_of(failed)
    return Verdict(
        operator=name,
        impl=impl,
        dtype=dtype_name(dtype),
        width=given.q.shape[3],
        block=given.plan.block,
        error=error,
        bound=2 * distance(operator.plain(given), exact) + 2 * _rounding(dtype, exact),
        reason=reason,
    )


def distance(out: Tensor, exact: Tensor) -> float:
    """Return the largest absolute difference; infinite where ``out`` is not finite."""
    if out.shape != exact.shape or not bool(torch.isfinite(out).all()):
        return math.inf
    return float((out.double() - exact).abs().max())


def small_inputs(dtype: torch.dtype, width: int, device: torch.device, block: int) -> Inputs:
    """Draw three blocks and a ragged one, two heads; half of the blocks are kept, and none of the second row."""
    make = torch.Generator().manual_seed(0)
    tokens = 3 * block + max(1, block // 3)
    q, k, v = (torch.randn(1, 2, tokens, width, generator=make).to(device, dtype) for _ in range(3))
    keep = torch.rand(1, 2, 4, 4, generator=make) < 0.5
    keep[:, :, 1] = False
    keep[:, :, 2, 3] = True  # the ragged block is read
    return Inputs(
        q=q,
        k=k,
        v=v,
        plan=BlockPlan(keep.to(device), block, tokens, tokens),
        lse=math.log(tokens) + 0.1 * torch.randn(1, 2, tokens, generator=make).to(device),
        order=torch.randperm(tokens, generator=make)[None, None].to(device),
    )


def _cases(name: str, given: Inputs) -> list[Inputs]:
    if name != "threshold":
        return [given]
    return [replace(given, tau=tau) for tau in (math.inf, -math.inf)]


def _rounding(dtype: torch.dtype, exact: Tensor) -> float:
    return torch.finfo(dtype).eps * max(1.0, float(exact.abs().max()))


def _selection(given: Inputs, impl: str) -> Verdict:
    """Compare the blocks that threshold attention chooses with its definition in float64."""
    block, width, dtype = given.plan.block, given.q.shape[3], given.q.dtype
    make = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, 2, 20 * block, width, generator=make).to(given.q.device, dtype) for _ in range(3))
    own: Any = own_impl(OPERATORS["threshold"], impl)
    _, ours = threshold_attention(q, k, v, block=block, impl=own)
    _, true = threshold_attention(q.double(), k.double(), v.double(), block=block, impl="reference")
    return Verdict(
        operator="threshold's selection",
        impl=own,
        dtype=dtype_name(dtype),
        width=width,
        block=block,
        error=float((ours - true).abs().double().mean()) / ours.shape[-1],
        bound=SELECTION,
    )
