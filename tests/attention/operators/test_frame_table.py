"""Attention with a table of groups: every implementation against the definition in float64, written pair by pair."""

from dataclasses import replace
from math import exp, inf
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.operators.frame_table import FrameTable, frame_table
from genkit.attention.operators.frame_table import triton as kernel
from genkit.attention.operators.frame_table.launch import TABLE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
IMPLS = ["reference", "gather", "triton"]
SIZES = [  # batch, heads, frames, tokens of a frame, text tokens, width
    (2, 3, 5, 12, 7, 40),
    (1, 2, 3, 37, 0, 64),
    (1, 1, 2, 70, 5, 128),
    (3, 2, 9, 1, 0, 32),
    (1, 1, 1, 1, 0, 16),
]
TABLES = ["bias", "window", "gain", "positive", "peak", "all"]


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)


def table_of(kind: str, frames: int, per_frame: int, texts: int) -> FrameTable:
    """A table over frames, and one group of text tokens after them that reads all and is read by all."""
    size = frames + (texts > 0)
    group = torch.cat([torch.arange(frames).repeat_interleave(per_frame), torch.full((texts,), frames)])
    numbers = torch.rand(3, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    apart = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    window = torch.where(apart > 1, -inf, 0.0).double()
    if texts:
        window[-1], window[:, -1] = 0, 0
    return FrameTable(
        rows=group,
        columns=group,
        bias=numbers[0] + window if kind in ("window", "all") else numbers[0] if kind == "bias" else 0 * numbers[0],
        gain=numbers[1] if kind in ("gain", "positive", "all") else None,
        positive=kind in ("positive", "all"),
        peak=numbers[2] if kind in ("peak", "all") else None,
    )


def pair_by_pair(q: Tensor, k: Tensor, v: Tensor, table: FrameTable, scale: float, valid: Tensor | None) -> Tensor:
    """The sentence of ``FrameTable``, one query at a time in Python's own numbers."""
    out = torch.zeros(q.shape, dtype=torch.float64)
    rows = table.rows.expand(len(q), -1)
    for b, h, n in ((b, h, n) for b in range(len(q)) for h in range(q.shape[1]) for n in range(q.shape[2])):
        r = int(rows[b, n])
        read = [
            (m, int(c))
            for m, c in enumerate(table.columns)
            if table.bias[r, c] > -inf and (valid is None or valid[b % len(valid), m])
        ]
        logits = []
        for m, c in read:
            logit = scale * float(q[b, h, n].double() @ k[b, h, m].double())
            gain = 1.0 if table.gain is None or (table.positive and logit <= 0) else float(table.gain[r, c])
            logits.append(gain * logit)
        if table.peak is not None and read:
            top = max(logits)
            logits = [logit + float(table.peak[r, c]) * top for logit, (_, c) in zip(logits, read, strict=True)]
        logits = [logit + float(table.bias[r, c]) for logit, (_, c) in zip(logits, read, strict=True)]
        weights = [exp(logit - max(logits)) for logit in logits]
        for weight, (m, _) in zip(weights, read, strict=True):
            out[b, h, n] += weight / sum(weights) * v[b, h, m].double().cpu()
    return out


def assert_near(out: Tensor, exact: Tensor, q: Tensor, k: Tensor, v: Tensor) -> None:
    """As good as dense attention of this dtype by single operations, plus two units of the result."""
    own = ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(-1) @ v
    true = ((q.double() * q.shape[-1] ** -0.5) @ k.double().mT).softmax(-1) @ v.double()
    unit = torch.finfo(q.dtype).eps * max(1.0, exact.abs().max().item())
    allowed = 2 * (own.double() - true).abs().max().item() + 4 * unit
    error = (out.double().cpu() - exact).abs().max().item()
    assert out.dtype == q.dtype and torch.isfinite(out).all()
    assert error <= allowed, f"it errs by {error:.2e}, allowed are {allowed:.2e}"


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("size", SIZES[:1] + SIZES[3:], ids=str)
def test_the_definition_is_the_sentence(kind: str, size: tuple[int, ...]) -> None:
    batch, heads, frames, per_frame, texts, width = size
    tokens = frames * per_frame + texts
    q, k, v = (draw(batch, heads, tokens, width, dtype=torch.float64, seed=i) for i in range(3))
    table = table_of(kind, frames, per_frame, texts)
    exact = pair_by_pair(q, k, v, table, width**-0.5, None)
    torch.testing.assert_close(frame_table(q, k, v, table, impl="reference").cpu(), exact, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("impl", IMPLS[1:])
def test_implementations_agree_with_the_definition(impl: Any, size: tuple[int, ...], kind: str) -> None:
    batch, heads, frames, per_frame, texts, width = size
    q, k, v = (draw(batch, heads, frames * per_frame + texts, width, seed=i) for i in range(3))
    table = table_of(kind, frames, per_frame, texts)
    exact = frame_table(q.double(), k.double(), v.double(), table, impl="reference")
    assert_near(frame_table(q, k, v, table, impl=impl), exact.cpu(), q, k, v)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("impl", IMPLS)
def test_halves_are_as_good_as_dense_attention_in_halves(impl: Any, dtype: torch.dtype) -> None:
    q, k, v = (draw(2, 2, 67, 64, dtype=dtype, seed=i) for i in range(3))
    table = table_of("all", 5, 12, 7)
    exact = frame_table(q.double(), k.double(), v.double(), table, impl="reference")
    assert_near(frame_table(q, k, v, table, impl=impl), exact.cpu(), q, k, v)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("kind", ["window", "all"])
def test_padding_is_never_read(impl: Any, kind: str) -> None:
    q, k, v = (draw(2, 2, 67, 32, seed=i) for i in range(3))
    valid = (torch.arange(67) < torch.tensor([[67], [40]])).to(DEVICE)
    table = table_of(kind, 5, 12, 7)
    exact = pair_by_pair(q, k, v, table, 32**-0.5, valid)
    for poison in (0.0, float("nan"), inf):
        bad = ~valid[:, None, :, None]
        found = frame_table(q, k.masked_fill(bad, poison), v.masked_fill(bad, poison), table, valid=valid, impl=impl)
        assert_near(found, exact, q, k, v)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("kind", ["bias", "all"])
def test_a_query_that_reads_nothing_gives_zero(impl: Any, kind: str) -> None:
    q, k, v = (draw(1, 2, 60, 32, seed=i) for i in range(3))
    table = table_of(kind, 5, 12, 0)
    bias = table.bias.clone()
    bias[2] = -inf
    out = frame_table(q, k, v, replace(table, bias=bias), impl=impl)
    assert (out[:, :, 24:36] == 0).all() and torch.isfinite(out).all()
    others = torch.ones(60, dtype=torch.bool)
    others[24:36] = False
    full = frame_table(q, k, v, table, impl=impl)
    torch.testing.assert_close(out[:, :, others], full[:, :, others], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("kind", ["bias", "gain", "all"])
def test_each_video_of_a_batch_may_have_rows_of_its_own(impl: Any, kind: str) -> None:
    """Spatial cross-attention of a UNet: each entry of the batch is one frame, and its keys are the texts of events."""
    q, k, v = draw(4, 2, 33, 32), draw(4, 2, 21, 32, seed=1), draw(4, 2, 21, 32, seed=2)
    shape = table_of(kind, 4, 1, 0)
    table = replace(shape, rows=torch.arange(4)[:, None].expand(4, 33).contiguous(), columns=torch.arange(21) // 7)
    for video in range(4):
        one = (x[video : video + 1] for x in (q, k, v))
        alone = frame_table(*one, replace(table, rows=table.rows[video]), impl="reference")
        torch.testing.assert_close(
            frame_table(q, k, v, table, impl=impl)[video : video + 1], alone, atol=3e-6, rtol=1e-5
        )


@pytest.mark.parametrize("impl", IMPLS)
def test_a_table_that_says_nothing_is_dense(impl: Any) -> None:
    q, k, v = (draw(2, 2, 67, 32, seed=i) for i in range(3))
    table = FrameTable(rows=torch.zeros(67).long(), columns=torch.zeros(67).long(), bias=torch.zeros(1, 1))
    dense = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    assert_near(frame_table(q, k, v, table, impl=impl), dense.cpu(), q, k, v)


@pytest.mark.parametrize("impl", IMPLS)
def test_strides_do_not_matter(impl: Any) -> None:
    whole = draw(2, 67, 3, 3, 32)
    q, k, v = (whole[:, :, i].transpose(1, 2) for i in range(3))
    table = table_of("all", 5, 12, 7)
    apart = frame_table(q.contiguous(), k.contiguous(), v.contiguous(), table, impl=impl)
    torch.testing.assert_close(frame_table(q, k, v, table, impl=impl), apart, atol=1e-6, rtol=1e-6)


def test_only_tiles_that_a_row_may_read_are_listed() -> None:
    table = table_of("window", 6, 32, 0)
    tiles = table.tiles(64)
    assert tiles.tolist() == [[32 * frame, 32 * frame + 32] for frame in range(6)], "a tile has queries of one frame"
    count, listed = table.readable(tiles, 32)
    assert count.tolist() == [[2, 3, 3, 3, 3, 2]]
    assert listed[0, 2, :3].tolist() == [1, 2, 3] and listed[0, 0, :2].tolist() == [0, 1]


def test_tiles_of_frames_cover_every_query_once() -> None:
    for frames, per_frame, texts, size in ((5, 12, 7, 16), (3, 37, 0, 32), (2, 70, 5, 64), (4, 1, 0, 16)):
        table = table_of("bias", frames, per_frame, texts)
        covered = [n for begin, end in table.tiles(size).tolist() for n in range(begin, end)]
        assert covered == list(range(frames * per_frame + texts))


def test_new_memory_is_written_whole() -> None:
    q, k, v = (draw(1, 2, 67, 32, seed=i) for i in range(3))
    table = table_of("window", 5, 12, 7)
    assert q.new_empty(3).isnan().all(), "tests fill new memory with NaN"
    for impl in ("gather", "triton"):
        assert torch.isfinite(frame_table(q, k, v, table, impl=impl)).all()  # type: ignore[arg-type]
    assert frame_table(q, k[:, :, :0], v[:, :, :0], replace(table, columns=table.columns[:0])).eq(0).all()


def test_the_kernel_is_an_operator_of_pytorch() -> None:
    q, k, v = (draw(1, 1, 40, 32, seed=i) for i in range(3))
    table = table_of("all", 5, 8, 0)
    indices, numbers = kernel._on(q.device, table, TABLE.choose_for(q, 0), False)
    valid = torch.ones(1, 40, dtype=torch.int8, device=DEVICE)
    arguments = (q, k, v, *indices, *numbers, valid, True, False, 0.2)
    torch.library.opcheck(kernel.attend, arguments, test_utils=("test_schema", "test_faketensor"))


def test_bad_calls_are_refused() -> None:
    q, table = torch.zeros(2, 1, 12, 16), table_of("bias", 3, 4, 0)
    with pytest.raises(ValueError, match=r"takes q \[B, H, Nq, D\] and k, v \[B, H, Nk, D\], got"):
        frame_table(q, q[..., :8], q, table)
    with pytest.raises(ValueError, match=r"rows of the table must be \[12\] or \[2, 12\].*got \[11\]"):
        frame_table(q, q, q, replace(table, rows=table.rows[:11]))
    with pytest.raises(ValueError, match=r"columns of the table must be \[12\], one a key; got \[11\]"):
        frame_table(q, q, q, replace(table, columns=table.columns[:11]))
    with pytest.raises(ValueError, match=r"valid must be bool \[2 or 1, 12\], got torch.float32 \[2, 12\]"):
        frame_table(q, q, q, table, valid=torch.ones(2, 12))
    with pytest.raises(ValueError, match="rows must be in 0 to 2, as the table has 3; got 0 to 3"):
        replace(table, rows=table.rows + (table.rows == 2))
    with pytest.raises(ValueError, match=r"must be of one shape \[rows, columns\], got \[\[3, 3\], \[2, 3\], None\]"):
        replace(table, gain=torch.ones(2, 3))
    with pytest.raises(ValueError, match="its heads are 16 to 256 wide, not 8"):
        frame_table(*(torch.zeros(1, 1, 12, 8) for _ in range(3)), table, impl="triton")
    with pytest.raises(ValueError, match="impl='flex' is unknown; known: auto, triton, gather, reference"):
        frame_table(q, q, q, table, impl="flex")  # type: ignore[arg-type]
