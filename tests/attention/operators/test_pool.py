"""Pooled blocks: means and self-similarity."""

import pytest
import torch

from genkit.attention.operators.pool import pool


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_means_and_similarities_of_a_small_story(impl: str) -> None:
    x = torch.tensor([[1.0, 0], [3, 0], [0, 2], [4, 0], [0, 7]])[None, None]
    mean, similarity = pool(x, 2, impl=impl)  # type: ignore[arg-type]
    assert mean[0, 0].tolist() == [[2, 0], [2, 1], [0, 7]]
    assert similarity[0, 0].tolist() == [1, 0.5, 1]


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_padding_counts_nowhere(impl: str) -> None:
    x = torch.randn(2, 3, 50, 24, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(50) < torch.tensor([[50], [17]])
    mean, similarity = pool(x, 16, valid=valid, impl=impl)  # type: ignore[arg-type]
    alone, same = pool(x[1:, :, :17], 16, impl="reference")
    torch.testing.assert_close(mean[1:, :, :2], alone)
    torch.testing.assert_close(similarity[1:, :, :2], same)
    assert (mean[1, :, 2:] == 0).all() and (similarity[1, :, 2:] == 1).all()


def test_self_similarity_is_the_mean_cosine_of_all_pairs() -> None:
    x = torch.randn(1, 2, 20, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, similarity = pool(x, 8)
    for block in range(3):
        part = x[:, :, 8 * block : 8 * block + 8]
        cosines = torch.nn.functional.cosine_similarity(part[:, :, :, None], part[:, :, None], dim=-1)
        torch.testing.assert_close(similarity[:, :, block], cosines.mean((-2, -1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_the_kernel_is_the_definition(dtype: torch.dtype) -> None:
    x = torch.randn(2, 50, 3, 40, generator=torch.Generator().manual_seed(2)).to(dtype).transpose(1, 2)
    for block in (16, 24, 64):
        for mine, theirs in zip(pool(x, block, impl="triton"), pool(x, block, impl="reference"), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_bad_calls_are_refused() -> None:
    x = torch.zeros(1, 1, 4, 16)
    with pytest.raises(ValueError, match=r"pool takes \[B, H, N, D\] and a block of at least 1 token"):
        pool(x, 0)
    with pytest.raises(ValueError, match=r"valid must be \[1 or 1, 4\], got \[1, 5\]"):
        pool(x, 2, valid=torch.ones(1, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="impl='triton' cannot do this call: it does not compute in torch.float64"):
        pool(x.double(), 2, impl="triton")
