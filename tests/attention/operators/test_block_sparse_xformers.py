"""What is left to xformers: which plans are windows, and how they reach its attention."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.operators.block_sparse import block_sparse, xformers
from genkit.attention.operators.block_sparse.read_mask import ReadMask


def plan_of(*rows: str, block: int = 16, queries: int = 0, keys: int = 0) -> BlockPlan:
    """A plan that is drawn: ``#`` is read."""
    table = torch.tensor([[mark == "#" for mark in row] for row in rows])
    return BlockPlan(table[None, None], block, queries or len(rows) * block, keys or len(rows[0]) * block)


@pytest.mark.parametrize(
    ("plan", "windows"),
    [
        (plan_of("##", "##"), [(32, 32)]),
        (plan_of("##.", "##.", "..#"), [(32, 32), (16, 16)]),
        (plan_of("##.", "..#", queries=30, keys=40), [(16, 32), (14, 8)]),
        (plan_of("#..", ".#.", "..#", block=8), [(8, 8)] * 3),
        (plan_of("##.", "##.", ".##"), None),
        (plan_of("#.#", ".#.", "#.#"), None),
        (plan_of("#.", "#."), None),
        (plan_of("#.", ".."), None),
        (plan_of("..", "##"), None),
    ],
)
def test_windows_are_squares_on_the_diagonal(plan: BlockPlan, windows: list[tuple[int, int]] | None) -> None:
    assert xformers.windows_of(plan) == windows


def test_plans_that_differ_by_head_are_no_windows() -> None:
    assert xformers.windows_of(BlockPlan(torch.ones(1, 2, 2, 2, dtype=torch.bool), 16, 32, 32)) is None


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two things of xformers that are used, by their documentation: tokens ``[1, N, H, D]``, lengths of parts."""

    def from_seqlens(queries: Any, keys: Any) -> Any:
        return SimpleNamespace(parts=list(zip(queries, keys, strict=True)))

    def attend(q: Tensor, k: Tensor, v: Tensor, attn_bias: Any, scale: float) -> Tensor:
        assert q.shape[0] == 1 and q.shape[1] == sum(n for n, _ in attn_bias.parts)
        rows, cols = zip(*attn_bias.parts, strict=True)
        parts = zip(q.split(rows, 1), k.split(cols, 1), v.split(cols, 1), strict=True)
        done = [torch.einsum("bnhm,bmhd->bnhd", torch.einsum("bnhd,bmhd->bnhm", a, b).mul(scale).softmax(-1), c)
                for a, b, c in parts]  # fmt: skip
        return torch.cat(done, 1)

    for name, content in {
        "xformers": {},
        "xformers.ops": {"memory_efficient_attention": attend},
        "xformers.ops.fmha": {},
        "xformers.ops.fmha.attn_bias": {"BlockDiagonalMask": SimpleNamespace(from_seqlens=from_seqlens)},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("plan", [plan_of("##", "##", queries=30, keys=20), plan_of("##.", "..#", queries=30, keys=40)])
def test_windows_equal_the_definition(plan: BlockPlan) -> None:
    make = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 32, generator=make) for n in (plan.queries, plan.keys, plan.keys))
    out = xformers.forward(q, k, v, ReadMask(plan, None, None, None, None), 0.2)
    torch.testing.assert_close(out, block_sparse(q, k, v, plan, scale=0.2, impl="reference"), atol=2e-6, rtol=2e-6)


def test_what_it_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    q, plan = torch.zeros(1, 1, 32, 16), plan_of("##", "##")
    with pytest.raises(ValueError, match="impl='xformers' cannot do this call: it is for NVIDIA GPUs"):
        block_sparse(q, q, q, plan, impl="xformers")
    gpu: Any = SimpleNamespace(device=torch.device("cuda"))
    seen = ReadMask(plan, None, None, None, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert xformers.refusal(gpu, seen, False, False) == ("xformers is not installed; pip install xformers")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert xformers.refusal(gpu, seen, False, False) is None
    assert xformers.refusal(gpu, seen, True, False) == "here it has no log-sum-exp"
    assert xformers.refusal(gpu, seen, False, True) == "here it has no tail"
    band = ReadMask(plan_of("##.", "###", ".##"), None, None, None, None)
    padded = ReadMask(plan, None, None, None, torch.ones(1, 32, dtype=torch.bool))
    for other in (band, padded):
        assert str(xformers.refusal(gpu, other, False, False)).startswith("it does dense attention and windows that")
