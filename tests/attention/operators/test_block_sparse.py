"""Block-sparse attention against its definition in float64."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import api, auto_impl, block_sparse, flex, gather, reference
from genkit.attention.operators.block_sparse.workers import each

INF = float("inf")


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(shape, generator=make).to(dtype) for _ in range(3))
    return q, k, v


def random_plan(batch: int, heads: int, queries: int, keys: int, block: int, seed: int = 0) -> BlockPlan:
    """Half of the blocks; the last row of blocks reads nothing."""
    shape = (batch, heads, -(-queries // block), -(-keys // block))
    keep = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    if shape[2] > 1:
        keep[:, :, -1] = False
    return BlockPlan(keep, block, queries, keys)


def exact(q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, allowed: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Row by row in float64, over the keys that are read and no others."""
    out = torch.zeros(*q.shape[:3], v.shape[3], dtype=torch.float64)
    lse = torch.full(q.shape[:3], -INF, dtype=torch.float64)
    table = plan.keep.expand(*q.shape[:2], -1, -1)
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        read = table[b, h, i // plan.block].repeat_interleave(plan.block)[: plan.keys]
        if allowed is not None:
            read = read & allowed[b, i]
        if read.any():
            logits = k[b, h, read].double() @ q[b, h, i].double() * q.shape[-1] ** -0.5
            lse[b, h, i] = logits.logsumexp(0)
            out[b, h, i] = logits.softmax(0) @ v[b, h, read].double()
    return out, lse


def assert_no_worse_than_eager(actual: Tensor, eager: Tensor, exact: Tensor, factor: float = 2.0) -> None:
    """It may err as much as eager PyTorch of the same dtype errs, times ``factor``, plus one rounding."""
    assert actual.dtype == eager.dtype and exact.dtype == torch.float64
    assert torch.isfinite(actual).all(), "the result has inf or nan"
    unit = torch.finfo(actual.dtype).eps * max(1.0, exact.abs().max().item())
    mine, theirs = ((x.double() - exact).abs().max().item() for x in (actual, eager))
    assert mine <= factor * theirs + unit, f"mine {mine:.2e}, eager {theirs:.2e}, one rounding {unit:.2e}"


def eager(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Dense attention of the same dtype by single operations: the measure of what its rounding costs."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


def check(q: Tensor, k: Tensor, v: Tensor, actual: Tensor, expected: Tensor) -> None:
    dense = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    error = (eager(q, k, v).double() - dense).abs().max().item()
    assert_no_worse_than_eager(actual, (expected + error).to(q.dtype), expected)


@pytest.mark.parametrize("impl", ["reference", "gather"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "width", "block"),
    [
        (1, 1, 1, 1, 32, 16),
        (2, 3, 7, 7, 40, 16),
        (1, 2, 32, 32, 64, 16),
        (3, 1, 33, 33, 128, 16),
        (2, 5, 50, 50, 32, 24),
        (1, 2, 41, 19, 256, 8),
    ],
)
def test_it_is_the_definition(
    impl: api.Impl, dtype: torch.dtype, batch: int, heads: int, queries: int, keys: int, width: int, block: int
) -> None:
    q = draw(batch, heads, queries, width, dtype=dtype)[0]
    _, k, v = draw(batch, heads, keys, width, dtype=dtype, seed=1)
    for plan in (random_plan(1, 1, queries, keys, block), random_plan(batch, heads, queries, keys, block)):
        expected, expected_lse = exact(q, k, v, plan)
        check(q, k, v, block_sparse(q, k, v, plan, impl=impl), expected)
        out, lse = block_sparse(q, k, v, plan, impl=impl, return_lse=True)
        check(q, k, v, out, expected)
        assert torch.equal(lse == -INF, expected_lse == -INF)
        read = expected_lse > -INF
        # The definition computes in float32 at least; SDPA rounds logits to the dtype of the queries.
        atol = 1e-5 if impl == "reference" else max(1e-5, 2 * error_of_logits(q, k))
        torch.testing.assert_close(lse[read].double(), expected_lse[read], atol=atol, rtol=1e-5)


def error_of_logits(q: Tensor, k: Tensor) -> float:
    """What rounding costs the logits of eager PyTorch."""
    scale = q.shape[-1] ** -0.5
    return float((((q * scale) @ k.mT).double() - q.double() @ k.double().mT * scale).abs().max())


def restrictions(batch: int, tokens: int) -> dict[str, Tensor]:
    """Five text tokens, then frames of nine; some frames hidden and some keys padding."""
    make = torch.Generator().manual_seed(3)
    frames = ((torch.arange(tokens) - 5).div(9, rounding_mode="floor")).clamp_min(-1)
    count = int(frames.max()) + 1
    return {
        "frames_q": frames,
        "frames_k": frames,
        "visible": torch.rand(count, count, generator=make) < 0.5,
        "valid": torch.rand(batch, tokens, generator=make) < 0.8,
    }


def allowed_pairs(limits: dict[str, Tensor]) -> Tensor:
    frames, visible = limits["frames_q"], limits["visible"]
    text = frames < 0
    pairs = visible[frames.clamp_min(0)][:, frames.clamp_min(0)] | text[:, None] | text
    return pairs & limits["valid"][:, None]


@pytest.mark.parametrize("impl", ["reference", "gather"])
@pytest.mark.parametrize("shared", [False, True])
def test_frames_and_padding_restrict_single_tokens(impl: api.Impl, shared: bool) -> None:
    q, k, v = draw(2, 2, 50, 32)
    plan, limits = random_plan(*((1, 1) if shared else (2, 2)), 50, 50, 16), restrictions(2, 50)
    expected, expected_lse = exact(q, k, v, plan, allowed_pairs(limits))
    actual, lse = block_sparse(q, k, v, plan, impl=impl, return_lse=True, **limits)
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)
    check(q, k, v, actual, expected)
    check(q, k, v, block_sparse(q, k, v, plan, impl=impl, **limits), expected)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
def test_gathered_blocks_have_the_tail_of_the_definition(dtype: torch.dtype, padded: bool) -> None:
    q, k, v = draw(2, 2, 50, 32, dtype=dtype)
    plan = random_plan(1, 2, 50, 50, 16)
    valid = restrictions(2, 50)["valid"] if padded else None
    wide = (x.double() for x in (q, k, v))
    expected, of_expected = block_sparse(*wide, plan, tail=True, valid=valid, impl="reference", return_lse=True)
    out, lse = block_sparse(q, k, v, plan, tail=True, valid=valid, impl="gather", return_lse=True)
    check(q, k, v, out, expected)
    torch.testing.assert_close(lse.double(), of_expected, atol=2e-3 if dtype == torch.float16 else 1e-5, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bytes_at_once", [1, 9 * 2 * 16 * 32 * 4])
def test_gathered_groups_and_threads_change_nothing(
    monkeypatch: pytest.MonkeyPatch, threads: int, bytes_at_once: int
) -> None:
    """One row at a time, or several; the number of threads of the caller stays, and so do its modes."""
    q, k, v = draw(2, 3, 100, 32)
    plan = random_plan(2, 3, 100, 100, 16)
    whole = block_sparse(q, k, v, plan, impl="gather")
    monkeypatch.setattr(gather, "GATHERED_BYTES", bytes_at_once)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            part = block_sparse(q, k, v, plan, impl="gather")
            assert part.is_inference() and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(part, whole, atol=1e-6, rtol=1e-6)


def test_gathering_in_inference_mode_leaves_nothing_that_others_cannot_write() -> None:
    q, k, v = draw(1, 2, 100, 48)
    plan = random_plan(1, 2, 100, 100, 32)
    with torch.inference_mode():
        inside = block_sparse(q, k, v, plan, impl="gather")
    assert torch.equal(block_sparse(q, k, v, plan, impl="gather"), inside)


def test_threads_of_the_workers_compute_alone() -> None:
    """Each piece sees one thread, on a thread that is not the caller's; an error comes back to the caller."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        seen = each(lambda piece: (piece, torch.get_num_threads(), threading.current_thread().name), range(8))
        assert [piece for piece, _, _ in seen] == list(range(8))
        assert {threads for _, threads, _ in seen} == {1}
        assert all(name.startswith("genkit") for _, _, name in seen)
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            each(lambda piece: 1 // piece, [1, 0])
    finally:
        torch.set_num_threads(before)


def test_gathered_memory_is_written_whole() -> None:
    """New memory contains NaN, and nothing of that is left, in rows that read nothing too."""
    q, k, v = draw(1, 2, 50, 32)
    plan = random_plan(1, 2, 50, 50, 16)
    assert q.new_empty(3).isnan().all() and torch.empty(3).isnan().all() and torch.empty_like(q).isnan().all()
    expected = block_sparse(q, k, v, plan, impl="reference")
    out, lse = block_sparse(q, k, v, plan, impl="gather", return_lse=True)
    torch.testing.assert_close(out, expected)
    assert not lse.isnan().any()


def test_queries_in_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = draw(2, 2, 50, 32)
    plan, limits = random_plan(2, 2, 50, 50, 16), restrictions(2, 50)
    whole = block_sparse(q, k, v, plan, impl="reference", **limits)
    monkeypatch.setattr(reference, "PAIRS_AT_ONCE", 50 * 7)
    torch.testing.assert_close(block_sparse(q, k, v, plan, impl="reference", **limits), whole)


def test_keeping_everything_is_dense_attention_bit_for_bit() -> None:
    q, k, v = draw(2, 3, 45, 32)
    plan = BlockPlan(torch.ones(1, 1, 3, 3, dtype=torch.bool), 16, 45, 45)
    for scale in (None, 0.3):
        dense = F.scaled_dot_product_attention(q, k, v, scale=scale)
        assert torch.equal(block_sparse(q, k, v, plan, scale=scale), dense)


def test_strides_do_not_matter() -> None:
    fused = torch.randn(2, 45, 3, 4, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = (x.transpose(1, 2) for x in fused.unbind(2))
    plan = random_plan(1, 4, 45, 45, 16)
    packed = block_sparse(q.contiguous(), k.contiguous(), v.contiguous(), plan)
    torch.testing.assert_close(block_sparse(q, k, v, plan), packed)


def test_the_scale_is_used() -> None:
    q, k, v = draw(1, 2, 45, 32)
    plan = random_plan(1, 2, 45, 45, 16)
    actual = block_sparse(q, k, v, plan, scale=0.5)
    torch.testing.assert_close(actual, block_sparse(q * (0.5 * 32**0.5), k, v, plan))


@pytest.mark.parametrize("impl", ["reference", "gather", pytest.param("flex", marks=pytest.mark.slow)])
def test_a_block_left_out_cannot_be_seen(impl: api.Impl) -> None:
    """Enormous keys and values where nothing may look: not a bit of the result changes."""
    need(impl)
    q, k, v = draw(1, 2, 48, 32)
    plan = BlockPlan(torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)[None, None], 16, 48, 48)
    with torch.no_grad():
        before = block_sparse(q, k, v, plan, impl=impl)
        k[:, :, 16:32] = 1e6
        v[:, :, 16:32] = 1e6
        assert torch.equal(block_sparse(q, k, v, plan, impl=impl), before)
    assert before[:, :, 32:].eq(0).all() and before[:, :, :32].ne(0).any(-1).all()


def need(impl: str) -> None:
    q = torch.zeros(1, 1, 1, 32)
    if impl == "flex" and (reason := flex.refusal(q, random_plan(1, 1, 1, 1, 16), False)):
        pytest.skip(f"FlexAttention cannot run here: {reason}")


@pytest.mark.slow
@pytest.mark.parametrize("restricted", [False, True])
def test_flex_is_the_definition(restricted: bool) -> None:
    """Tables that differ by batch and head, a ragged last block, empty rows, strided input."""
    need("flex")
    fused = torch.randn(2, 50, 3, 2, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = (x.transpose(1, 2) for x in fused.unbind(2))
    plan, limits = random_plan(2, 2, 50, 50, 16), restrictions(2, 50) if restricted else {}
    expected, _ = exact(q, k, v, plan, allowed_pairs(limits) if restricted else None)
    with torch.no_grad():
        check(q, k, v, block_sparse(q, k, v, plan, impl="flex", **limits), expected)
        # The compiled function is used again with other tables: nothing of the first may be baked in.
        other = random_plan(2, 2, 50, 50, 16, seed=9)
        expected, _ = exact(q, k, v, other, allowed_pairs(limits) if restricted else None)
        check(q, k, v, block_sparse(q, k, v, other, impl="flex", **limits), expected)


def test_auto_gathers_on_a_cpu_and_takes_the_definition_for_gradients() -> None:
    q, k, v = draw(1, 1, 32, 32)
    plan = random_plan(1, 1, 32, 32, 16)
    assert auto_impl(q, k, v) == "gather"
    assert auto_impl(q, k.requires_grad_(), v) == "reference"
    block_sparse(q, k, v, plan).sum().backward()
    assert k.grad is not None and k.grad.ne(0).any()
    with torch.no_grad():
        assert auto_impl(q, k, v) == "gather"


def test_an_explicit_choice_never_falls_back() -> None:
    q, k, v = draw(1, 1, 32, 32)
    plan = random_plan(1, 1, 32, 32, 16)
    with pytest.raises(ValueError, match="impl='flex' cannot do this call: it does not compute in torch.float64"):
        block_sparse(q.double(), k.double(), v.double(), plan, impl="flex")
    with pytest.raises(ValueError, match="on a CPU it returns no log-sum-exp; or use impl='auto'"):
        block_sparse(q, k, v, plan, impl="flex", return_lse=True)
    for impl in ("flex", "gather"):
        with pytest.raises(ValueError, match=rf"impl='{impl}' .* no gradient; use torch.no_grad\(\); or use impl="):
            block_sparse(q.requires_grad_(), k, v, plan, impl=impl)  # type: ignore[call-overload]
    assert gather.refusal(q.to("meta")) == "it is for CPUs, and these queries are on meta"
    with pytest.raises(
        ValueError, match="impl='cuda' is unknown; known: auto, triton, gather, flex, xformers, reference"
    ):
        block_sparse(q, k, v, plan, impl="cuda")  # type: ignore[call-overload]


def test_machines_without_a_compiler_are_told() -> None:
    monkeypatch = pytest.MonkeyPatch()
    flex._no_compiler.cache_clear()
    try:
        monkeypatch.setenv("CXX", "no-such-compiler")
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        assert flex._no_compiler() == "on a CPU it needs a C++ compiler; install g++ or set CXX"
        flex._no_compiler.cache_clear()
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        assert flex._no_compiler() == "on a CPU it needs Linux and AVX2"
    finally:
        monkeypatch.undo()
        flex._no_compiler.cache_clear()


def test_bad_shapes_are_refused() -> None:
    q, k, v = draw(2, 2, 32, 32)
    plan, frames = random_plan(1, 1, 32, 32, 16), torch.zeros(32, dtype=torch.int64)
    visible = torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="repeat the keys of grouped heads"):
        block_sparse(q, k[:, :1], v[:, :1], plan)
    with pytest.raises(ValueError, match="share dtype and device"):
        block_sparse(q, k.half(), v, plan)
    with pytest.raises(ValueError, match="the plan is for 32 x 32 tokens, q and k have 31 x 32"):
        block_sparse(q[:, :, 1:], k, v, plan)
    with pytest.raises(ValueError, match=r"batch and heads \[3, 1\], q has \[2, 2\]"):
        block_sparse(q, k, v, random_plan(3, 1, 32, 32, 16))
    with pytest.raises(ValueError, match="visible needs frames_q and frames_k"):
        block_sparse(q, k, v, plan, visible=visible)
    with pytest.raises(ValueError, match="visible must be a bool table"):
        block_sparse(q, k, v, plan, visible=visible.float(), frames_q=frames, frames_k=frames)
    with pytest.raises(ValueError, match="frames_k must hold one frame for each of 32 tokens"):
        block_sparse(q, k, v, plan, visible=visible, frames_q=frames, frames_k=frames[1:])
    with pytest.raises(ValueError, match=r"valid must be bool \[2 or 1, 32\]"):
        block_sparse(q, k, v, plan, valid=torch.ones(3, 32, dtype=torch.bool))
