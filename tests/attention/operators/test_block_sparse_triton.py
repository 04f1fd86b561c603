"""The block-sparse kernel against the definition in float64, in Triton's interpreter where there is no GPU."""

import pytest
import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import block_sparse, reference
from genkit.attention.operators.block_sparse import triton as kernel
from genkit.attention.operators.block_sparse.read_mask import ReadMask

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]
SHAPES = [  # batch, heads, queries, keys, width, block
    (1, 1, 1, 1, 32, 16),
    (2, 3, 50, 70, 40, 24),
    (1, 5, 33, 33, 64, 32),
    (3, 1, 130, 95, 128, 64),
    (1, 2, 40, 40, 256, 16),
]


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)


def half_of(batch: int, heads: int, queries: int, keys: int, block: int) -> BlockPlan:
    """Half of the blocks; where there are several, the first row of blocks reads nothing."""
    shape = (batch, heads, -(-queries // block), -(-keys // block))
    keep = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    if shape[2] > 1:
        keep[:, :, 0] = False
    return BlockPlan(keep.to(DEVICE), block, queries, keys)


def eager_error(q: Tensor, k: Tensor, v: Tensor) -> float:
    """What dense attention by single operations of the same dtype errs."""
    own = ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(-1) @ v
    true = ((q.double() * q.shape[-1] ** -0.5) @ k.double().mT).softmax(-1) @ v.double()
    return (own.double() - true).abs().max().item()


def assert_as_good_as_eager(q: Tensor, k: Tensor, v: Tensor, out: Tensor, exact: Tensor) -> None:
    assert out.dtype == q.dtype and torch.isfinite(out).all()
    unit = torch.finfo(q.dtype).eps * max(1.0, exact.abs().max().item())
    error = (out.double() - exact).abs().max().item()
    assert error <= 2 * eager_error(q, k, v) + 2 * unit, f"it errs by {error:.2e}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_definition(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    batch, heads, queries, keys, width, block = shape
    q, k, v = (draw(batch, heads, n, width, dtype=dtype, seed=n + i) for i, n in enumerate((queries, keys, keys)))
    plan = half_of(batch, heads, queries, keys, block)
    out, lse = block_sparse(q, k, v, plan, impl="triton", return_lse=True)
    seen = ReadMask(plan, None, None, None, None).rows(torch.arange(queries, device=DEVICE)).double().log()
    exact, exact_lse = reference.attention(q.double(), k.double(), v.double(), seen, width**-0.5)
    assert_as_good_as_eager(q, k, v, out, exact)
    assert torch.equal(lse.isinf(), exact_lse.isinf()) and not lse.isnan().any()
    there = exact_lse.isfinite()
    torch.testing.assert_close(lse[there].double(), exact_lse[there], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("padding", [False, True])
def test_frames_and_padding_cut_single_tokens(frames: bool, padding: bool) -> None:
    tokens, plan = 75, half_of(2, 2, 75, 75, 16)
    q, k, v = (draw(2, 2, tokens, 32, dtype=torch.float32, seed=i) for i in range(3))
    frame = torch.cat([torch.full((5,), -1), torch.arange(70) // 14]).to(DEVICE)
    visible = (torch.arange(5)[:, None] - torch.arange(5)).abs().le(1).to(DEVICE) if frames else None
    valid = (torch.arange(tokens) < torch.tensor([[75], [60]])).to(DEVICE) if padding else None
    limits = {"frames_q": frame, "frames_k": frame, "visible": visible, "valid": valid}
    out = block_sparse(q, k, v, plan, **limits, impl="triton")
    expected = block_sparse(q.double(), k.double(), v.double(), plan, **limits, impl="reference")
    assert_as_good_as_eager(q, k, v, out, expected)


def test_keeping_everything_is_dense() -> None:
    q, k, v = (draw(2, 2, 100, 64, dtype=torch.float32, seed=i) for i in range(3))
    plan = BlockPlan(torch.ones(1, 1, 4, 4, dtype=torch.bool, device=DEVICE), 32, 100, 100)
    dense = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    assert_as_good_as_eager(q, k, v, block_sparse(q, k, v, plan, impl="triton"), dense)


def test_strides_do_not_matter() -> None:
    whole = draw(2, 60, 3, 3, 32, dtype=torch.float32)  # [B, N, 3, H, D], as fused projections lie
    q, k, v = (whole[:, :, i].transpose(1, 2) for i in range(3))
    plan = half_of(1, 1, 60, 60, 16)
    apart = block_sparse(q.contiguous(), k.contiguous(), v.contiguous(), plan, impl="triton")
    assert torch.equal(block_sparse(q, k, v, plan, impl="triton"), apart)


@pytest.mark.parametrize("impl", ["reference", "triton"])
def test_a_tail_is_exact_where_the_keys_of_a_block_are_equal(impl: str) -> None:
    q, v = (draw(2, 2, 70, 32, dtype=torch.float32, seed=i) for i in range(2))
    k = draw(2, 2, 5, 32, dtype=torch.float32, seed=2).repeat_interleave(16, 2)[:, :, :70]
    plan = half_of(2, 2, 70, 70, 16)
    dense = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    out = block_sparse(q, k, v, plan, tail=True, impl=impl)  # type: ignore[call-overload]
    torch.testing.assert_close(out.double(), dense, atol=2e-6, rtol=2e-6)


def test_the_tail_of_the_kernel_is_that_of_the_definition() -> None:
    q, k, v = (draw(2, 2, 70, 40, dtype=torch.float32, seed=i) for i in range(3))
    plan = half_of(1, 2, 70, 70, 16)
    valid = (torch.arange(70) < torch.tensor([[70], [41]])).to(DEVICE)
    out, lse = block_sparse(q, k, v, plan, valid=valid, tail=True, impl="triton", return_lse=True)
    wide = (x.double() for x in (q, k, v))
    exact, exact_lse = block_sparse(*wide, plan, valid=valid, tail=True, impl="reference", return_lse=True)
    torch.testing.assert_close(out.double(), exact, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(lse.double(), exact_lse, atol=2e-6, rtol=2e-6)


def test_a_tail_cannot_be_cut_by_frames() -> None:
    q, k, v = (draw(1, 1, 32, 16, dtype=torch.float32, seed=i) for i in range(3))
    frame, visible = torch.zeros(32, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="tail counts whole blocks by their mean and cannot be cut by visible frames"):
        block_sparse(q, k, v, half_of(1, 1, 32, 32, 16), frames_q=frame, frames_k=frame, visible=visible, tail=True)


def test_what_the_kernel_cannot_do_is_said() -> None:
    plan = half_of(1, 1, 32, 32, 16)
    for dtype, width, reason in [
        (torch.float64, 32, "it does not compute in torch.float64"),
        (torch.float32, 8, "its heads are 16 to 256 wide, not 8"),
    ]:
        q, k, v = (draw(1, 1, 32, width, dtype=dtype, seed=i) for i in range(3))
        with pytest.raises(ValueError, match=f"impl='triton' cannot do this call: {reason}; or use impl='auto'"):
            block_sparse(q, k, v, plan, impl="triton")


def test_the_operator_is_known_to_the_compiler() -> None:
    """Shapes and dtypes of the fake implementation are those of the real one."""
    q, k, v = (draw(1, 2, 40, 32, dtype=torch.float32, seed=i) for i in range(3))
    plan = half_of(1, 2, 40, 40, 16)
    seen = ReadMask(plan, None, None, None, None)
    tokens = seen.tokens()
    lists = (*plan.lists, *plan.lists)
    args = (q, k, v, *lists, tokens.rows, tokens.cols, tokens.table, tokens.valid, None, None, None, None, 16, 0.2)
    torch.library.opcheck(kernel.attend, args, test_utils=("test_schema", "test_faketensor"))
