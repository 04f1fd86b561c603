"""Padded keys are never read, whatever stands there, and tensors may lie in memory in any way."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sparse_settings import SPARSE, made
from torch import Tensor

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_mass import block_mass
from genkit.attention.operators.block_sparse import block_sparse
from genkit.attention.operators.permute import permute
from genkit.attention.operators.pool import pool
from genkit.attention.operators.threshold import threshold_attention
from genkit.plugins.contract import Target

BLOCK, TOKENS, WIDTH = 16, 40, 16
EVERY: Any = ["reference", "gather", "triton"]
DEFINED: Any = ["reference", "triton"]


def drawn(*, heads: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 2, heads, TOKENS, WIDTH, generator=draw)
    return q, k, v


def plan_of(whole: bool) -> BlockPlan:
    keep = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    keep[..., 0, 2] = keep[..., 2, 0] = whole
    return BlockPlan(keep, BLOCK, TOKENS, TOKENS)


def every_other(x: Tensor) -> Tensor:
    """A last stride of 2."""
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1]), 1e4, dtype=x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def channels_first(x: Tensor) -> Tensor:
    """A last stride of the number of tokens."""
    return x.mT.contiguous().mT


def heads_last(x: Tensor) -> Tensor:
    """As diffusers gives them."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def expanded(x: Tensor) -> Tensor:
    """All heads are one: a stride of 0."""
    return x[:, :1].expand(-1, x.shape[1], -1, -1)


def constant(x: Tensor) -> Tensor:
    """All channels are one: a last stride of 0."""
    return x[..., :1].expand_as(x)


LAYOUTS = [every_other, channels_first, heads_last, expanded, constant]


def same(found: Any, expected: Any, scale: float = 20) -> None:
    """Sums of float32 in another order."""
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=scale * 1e-6, rtol=scale * 1e-6)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("impl", EVERY)
def test_block_sparse_of_any_strides(impl: Any, layout: Callable[[Tensor], Tensor], whole: bool) -> None:
    q, k, v = (layout(x) for x in drawn())
    plan, plain = plan_of(whole), [x.contiguous() for x in (q, k, v)]
    expected = block_sparse(*(x.double() for x in plain), plan, impl="reference", return_lse=True)
    found = block_sparse(q, k, v, plan, impl=impl, return_lse=True)
    same(found, [x.float() for x in expected])
    same([block_sparse(q, k, v, plan, impl=impl)], [expected[0].float()])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("impl", DEFINED)
def test_the_other_operators_of_any_strides(impl: Any, layout: Callable[[Tensor], Tensor]) -> None:
    q, k, v = (layout(x) for x in drawn())
    a, b, c = (x.contiguous() for x in (q, k, v))
    lse = (a @ b.mT * WIDTH**-0.5).logsumexp(-1)
    order = torch.randperm(TOKENS, generator=torch.Generator().manual_seed(1))[None, None]
    same(threshold_attention(q, k, v, block=BLOCK, impl=impl), threshold_attention(a, b, c, block=BLOCK))
    same(pool(k, BLOCK, impl=impl), pool(b, BLOCK))
    same([block_mass(q, k, lse, BLOCK, impl=impl)], [block_mass(a, b, lse, BLOCK)])
    assert torch.equal(permute(k, order, impl=impl), b[:, :, order[0, 0]])


VALID = torch.ones(2, TOKENS, dtype=torch.bool)
VALID[0, 21:27] = VALID[1, 30:] = False


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("impl", EVERY)
def test_padding_of_block_sparse_is_never_read(impl: Any, tail: bool, poison: float) -> None:
    q, k, v = drawn()
    bad = ~VALID[:, None, :, None]
    for whole in (True, False):
        for valid in (VALID, VALID[:1].expand(2, -1), VALID & torch.tensor([[True], [False]])):
            how: Any = {"valid": valid, "tail": tail, "impl": impl, "return_lse": True}
            bad = ~valid[:, None, :, None]
            clean = block_sparse(q, k.masked_fill(bad, 0), v.masked_fill(bad, 0), plan_of(whole), **how)
            found = block_sparse(q, k.masked_fill(bad, poison), v.masked_fill(bad, poison), plan_of(whole), **how)
            assert torch.equal(found[0], clean[0]) and torch.equal(found[1], clean[1])
            assert found[0].isfinite().all() and not found[1].isnan().any()
    assert (found[0][1] == 0).all() and (found[1][1] == -float("inf")).all(), "a video of nothing but padding"


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("impl", DEFINED)
def test_padding_of_the_other_operators_is_never_read(impl: Any, poison: float) -> None:
    q, k, v = drawn()
    bad = ~VALID[:, None, :, None]
    zero, ill = ([x.masked_fill(bad, value) for x in (k, v)] for value in (0.0, poison))
    lse = torch.zeros(q.shape[:3])
    for clean, found in (
        (pool(zero[0], BLOCK, valid=VALID, impl=impl), pool(ill[0], BLOCK, valid=VALID, impl=impl)),
        (
            threshold_attention(q, *zero, block=BLOCK, valid=VALID, impl=impl),
            threshold_attention(q, *ill, block=BLOCK, valid=VALID, impl=impl),
        ),
        (
            [block_mass(q, zero[0], lse, BLOCK, valid=VALID, impl=impl)],
            [block_mass(q, ill[0], lse, BLOCK, valid=VALID, impl=impl)],
        ),
    ):
        assert all(map(torch.equal, clean, found)) and all(x.isfinite().all() for x in found)


@pytest.mark.parametrize("name", SPARSE)
def test_no_sparse_method_is_led_by_what_stands_in_the_padding(name: str) -> None:
    """The output of the other tokens is the same, whatever the keys and values of the padding are."""
    (rule,) = (
        made(SPARSE, name).parts(Target(family="toy", title="Toy", native_frames=2, kinds=frozenset({"joint"}))).rules
    )
    q, k, v = drawn()
    valid = torch.ones(2, TOKENS, dtype=torch.bool)
    valid[:, 38:] = False
    bad, found = ~valid[:, None, :, None], []
    for poison in (0.0, float("nan"), 1e4):
        grid = VideoGrid(frames=3, rows=3, cols=4, after=4, native_frames=2)
        call = Call(
            layer="a", depth=1, kind="joint", grid=grid, step=Step(), run=RunRecord(), mask=valid[:, None, None]
        )
        found.append(rule.wrap(dense)(q, k.masked_fill(bad, poison), v.masked_fill(bad, poison), call))
        assert call.run.densities[name] and not call.run.refusals
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2]) and found[0].isfinite().all()
