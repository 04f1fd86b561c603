"""Threshold attention: what it reads exactly, and what it takes by the mean."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from genkit.attention.operators.threshold import threshold_attention, threshold_plan

INF = float("inf")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("impl", ["reference", "gather", "triton"])
def test_a_threshold_of_minus_infinity_is_dense(impl: str) -> None:
    q, k, v = (draw(2, 2, 150, 32, seed=i) for i in range(3))
    out, exact = threshold_attention(q, k, v, block=16, tau=-INF, impl=impl)  # type: ignore[arg-type]
    assert (exact == 10).all()
    torch.testing.assert_close(out, scaled_dot_product_attention(q, k, v), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("impl", ["reference", "gather", "triton"])
def test_a_threshold_of_infinity_reads_neighbours_and_sinks_only(impl: str) -> None:
    q, k, v = (draw(1, 1, 160, 16, seed=i) for i in range(3))
    sinks = torch.zeros(10, dtype=torch.bool)
    sinks[7] = True
    _, exact = threshold_attention(q, k, v, block=16, tau=INF, sinks=sinks, impl=impl)  # type: ignore[arg-type]
    #                                 i-1, i, i+1 and block 7
    assert exact[0, 0].tolist() == [3, 4, 4, 4, 4, 4, 3, 10, 3, 3]


def test_the_share_of_exact_blocks_is_that_of_a_gaussian_tail() -> None:
    """Scores of random blocks are nearly normal: 15.9 % of them lie above one deviation."""
    q, k = draw(1, 8, 64 * 100, 32, seed=0), draw(1, 8, 64 * 100, 32, seed=1)
    none = torch.zeros(100, dtype=torch.bool)
    keep = threshold_plan(q, k, block=64, tau=1.0, scale=32**-0.5, sinks=none).keep
    away = (torch.arange(100)[:, None] - torch.arange(100)).abs() > 1
    assert 0.14 < float(keep[..., away].float().mean()) < 0.18


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("tokens", "width", "block"), [(200, 32, 16), (130, 40, 32), (64, 64, 64)])
def test_the_kernel_is_the_definition(dtype: torch.dtype, tokens: int, width: int, block: int) -> None:
    q, k, v = (draw(2, 2, tokens, width, seed=i, dtype=dtype) for i in range(3))
    blocks = -(-tokens // block)
    sinks, valid = torch.arange(blocks) == 1, torch.arange(tokens) < torch.tensor([[tokens], [tokens - 9]])
    out, exact = threshold_attention(q, k, v, block=block, tau=0.8, sinks=sinks, valid=valid, impl="triton")
    wide = (x.double() for x in (q, k, v))
    expected, count = threshold_attention(*wide, block=block, tau=0.8, sinks=sinks, valid=valid, impl="reference")
    assert torch.equal(exact, count)
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), expected, atol=8 * unit, rtol=8 * unit)


def test_gathered_blocks_are_the_definition() -> None:
    q, k, v = (draw(2, 2, 130, 32, seed=i) for i in range(3))
    sinks, valid = torch.arange(9) == 1, torch.arange(130) < torch.tensor([[130], [121]])
    wide = (x.double() for x in (q, k, v))
    expected, count = threshold_attention(*wide, block=16, tau=0.8, sinks=sinks, valid=valid, impl="reference")
    for impl in ("gather", "auto"):
        out, exact = threshold_attention(q, k, v, block=16, tau=0.8, sinks=sinks, valid=valid, impl=impl)  # type: ignore[arg-type]
        assert torch.equal(exact, count)
        torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=2e-6)


def test_every_query_block_reads_itself() -> None:
    q, k, v = (draw(1, 2, 100, 16, seed=i) for i in range(3))
    plan = threshold_plan(q, k, block=16, tau=INF, scale=0.25, sinks=torch.zeros(7, dtype=torch.bool))
    assert plan.keep.diagonal(dim1=-2, dim2=-1).all()


def test_bad_calls_are_refused() -> None:
    q = torch.zeros(1, 1, 32, 16)
    with pytest.raises(ValueError, match="threshold_attention is self-attention and takes q, k and v of one shape"):
        threshold_attention(q, q[:, :, :16], q[:, :, :16])
    with pytest.raises(ValueError, match=r"sinks must have one flag for each of 2 blocks, got \[3\]"):
        threshold_attention(q, q, q, block=16, sinks=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="its blocks are 16, 32, 64 or 128 tokens, not 24"):
        threshold_attention(q, q, q, block=24, impl="triton")
