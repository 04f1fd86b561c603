"""Tokens in another order, and back."""

import pytest
import torch

from genkit.attention.operators.permute import inverse, permute


@pytest.mark.parametrize("impl", ["reference", "triton"])
@pytest.mark.parametrize("shared", [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_each_head_has_its_own_order_and_comes_back(impl: str, shared: tuple[int, int]) -> None:
    x = torch.randn(2, 37, 3, 20, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    order = torch.rand(*shared, 37, generator=torch.Generator().manual_seed(1)).argsort(-1)
    moved = permute(x, order, impl=impl)  # type: ignore[arg-type]
    for b in range(2):
        for h in range(3):
            assert torch.equal(moved[b, h], x[b, h, order[b % shared[0], h % shared[1]]])
    assert torch.equal(permute(moved, inverse(order), impl=impl), x)  # type: ignore[arg-type]


def test_a_shorter_order_takes_some_tokens_only() -> None:
    x = torch.arange(6.0)[None, None, :, None]
    assert permute(x, torch.tensor([[[5, 0, 0]]])).flatten().tolist() == [5, 0, 0]


def test_bad_calls_are_refused() -> None:
    with pytest.raises(ValueError, match=r"permute takes x \[B, H, N, D\] and order \[B or 1, H or 1, M\]"):
        permute(torch.zeros(2, 1, 4, 8), torch.zeros(3, 1, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="impl='fast' is unknown; known: auto, triton, reference"):
        permute(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, dtype=torch.long), impl="fast")  # type: ignore[arg-type]
