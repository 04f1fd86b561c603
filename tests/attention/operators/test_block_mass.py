"""Exact mass of the softmax in pairs of blocks."""

import pytest
import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_mass import block_mass, recall


def softmax_of(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    logits = q.double() @ k.double().mT * q.shape[-1] ** -0.5
    return logits.softmax(-1), logits.logsumexp(-1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("impl", ["reference", "triton"])
@pytest.mark.parametrize(("queries", "keys", "width", "block"), [(50, 70, 40, 16), (33, 33, 64, 32), (7, 100, 16, 24)])
def test_mass_is_the_sum_of_the_softmax(impl: str, queries: int, keys: int, width: int, block: int) -> None:
    q, k = draw(2, 3, queries, width), draw(2, 3, keys, width, seed=1)
    weights, lse = softmax_of(q, k)
    mass = block_mass(q, k, lse.float(), block, impl=impl)  # type: ignore[arg-type]
    for i in range(mass.shape[2]):
        for j in range(mass.shape[3]):
            whole = weights[:, :, block * i : block * (i + 1), block * j : block * (j + 1)].sum((-2, -1))
            torch.testing.assert_close(mass[:, :, i, j].double(), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_padding_and_queries_that_read_nothing_hold_no_mass(impl: str) -> None:
    q, k = draw(1, 1, 40, 32), draw(1, 1, 40, 32, seed=1)
    lse = softmax_of(q, k)[1].float()
    lse[..., 5] = float("-inf")
    valid = torch.arange(40)[None] < 20
    mass = block_mass(q, k, lse, 16, valid=valid, impl=impl)  # type: ignore[arg-type]
    assert (mass[..., 2] == 0).all() and torch.isfinite(mass).all()
    other = block_mass(q[:, :, :5], k, lse[..., :5], 16, valid=valid) + block_mass(
        q[:, :, 6:16], k, lse[..., 6:16], 16, valid=valid
    )
    torch.testing.assert_close(mass[:, :, :1], other)


def test_recall_is_the_share_of_the_softmax_that_a_plan_keeps() -> None:
    q, k = draw(2, 2, 48, 32), draw(2, 2, 48, 32, seed=1)
    weights, lse = softmax_of(q, k)
    keep = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(3)) < 0.5
    plan = BlockPlan(keep, 16, 48, 48)
    mask = keep.repeat_interleave(16, 2).repeat_interleave(16, 3)
    exact = (weights * mask).sum((-2, -1)) / 48
    mass = block_mass(q, k, lse.float(), 16)
    torch.testing.assert_close(recall(mass, plan.keep).double(), exact, atol=1e-6, rtol=1e-5)


def test_bad_calls_are_refused() -> None:
    q = torch.zeros(1, 1, 4, 16)
    with pytest.raises(ValueError, match=r"block_mass takes q \[B, H, Nq, D\], k \[B, H, Nk, D\] and lse"):
        block_mass(q, q, torch.zeros(1, 1, 5), 2)
    with pytest.raises(ValueError, match="its blocks have at most 128 tokens, not 256"):
        block_mass(q, q, torch.zeros(1, 1, 4), 256, impl="triton")
