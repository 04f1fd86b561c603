"""What a planner keeps: exact recall, targets that are reached or refused, budgets by layer."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_planners import FULL, GRIDS, SPARSE, call_of, dense, draw, sparse

from genkit.attention.planning.measure import UnreachableError, measure
from genkit.plugins.sparse.adaspa import AdaSpa
from genkit.plugins.sparse.radial import Radial
from genkit.plugins.sparse.sparge import SpargeAttention

FIXED = {name: planner for name, planner in SPARSE.items() if name not in ("sparge, cdf", "adaspa, recall")}


def here_of(planner: Any, grid: Any, **change: Any) -> Any:
    q, k, v = draw(grid)
    return (q, k, v), sparse(planner).planner_call(planner, q, call_of(grid, **change))


@pytest.mark.parametrize("name", ["radial", "sparge", "adaspa", "frame-anchors"])
def test_recall_is_the_share_of_the_exact_softmax(name: str) -> None:
    grid = GRIDS["text last"]
    (q, k, v), here = here_of(SPARSE[name], grid)
    plans: list[Any] = []
    recorder = type("Spy", (type(here),), {"on_plan": lambda self, q, k, v, plan: plans.append(plan())})
    SPARSE[name].attend(q, k, v, recorder(**{field: getattr(here, field) for field in here.__dataclass_fields__}))
    keep = plans[-1].keep.repeat_interleave(16, -1).repeat_interleave(16, -2)[..., : grid.tokens, : grid.tokens]
    weights = (q.double() @ k.double().mT * 32**-0.5).softmax(-1)
    found = measure(SPARSE[name], q, k, v, here_of(SPARSE[name], grid)[1])
    torch.testing.assert_close(found.recall.double(), (weights * keep).sum(-1).mean(-1), atol=1e-5, rtol=0)
    truth = weights @ v.double()
    torch.testing.assert_close(found.dense.double(), truth, atol=1e-5, rtol=0)
    cut = (weights * keep) @ v.double() / (weights * keep).sum(-1, keepdim=True)
    error = (cut - truth).flatten(2).norm(dim=-1) / truth.flatten(2).norm(dim=-1)
    torch.testing.assert_close(found.error, error, atol=1e-5, rtol=0)


@pytest.mark.parametrize("planner", FULL.values(), ids=FULL)
def test_at_full_density_all_is_kept(planner: Any) -> None:
    (q, k, v), here = here_of(planner, GRIDS["text first"])
    found = measure(planner, q, k, v, here)
    torch.testing.assert_close(found.recall, torch.ones_like(found.recall), atol=1e-5, rtol=0)
    assert found.error.max() < 1e-5 and float(found.density) == pytest.approx(1)


@pytest.mark.parametrize("planner", FIXED.values(), ids=FIXED)
def test_levels_go_from_sparse_to_dense_and_end_dense(planner: Any) -> None:
    grid = GRIDS["video"]
    (q, k, v), here = here_of(planner, grid)
    found = [measure(planner.having(**level), q, k, v, here) for level in planner.levels()]
    densities = [float(one.density) for one in found]
    assert densities == sorted(densities) and densities[0] < 0.7
    assert found[-1].recall.min() > 0.9999


@pytest.mark.parametrize("planner", FIXED.values(), ids=FIXED)
def test_a_recall_is_kept_in_every_head(planner: Any) -> None:
    q, k, v = draw(GRIDS["video"])
    call = call_of(GRIDS["video"])
    replace(sparse(planner), recall=0.6).wrap(dense)(q, k, v, call)
    (recall, *_) = call.run.measures[planner.name, "recall"]
    assert recall.shape == (1, 2) and recall.min() >= 0.6
    assert float(call.run.densities[planner.name][0]) < 1


def test_the_search_takes_place_once_a_layer_and_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.attention.planning import rule

    searched: list[Any] = []
    real = rule.reaching
    monkeypatch.setattr(
        rule, "reaching", lambda p, r, m, q, k, v, here: searched.append(1) or real(p, r, m, q, k, v, here)
    )
    call = call_of(GRIDS["video"])
    attend = replace(sparse(SpargeAttention(block=16).planner()), recall=0.7).wrap(dense)
    for layer in ("blocks.3.attn1", "blocks.4.attn1", "blocks.3.attn1"):
        attend(*draw(GRIDS["video"]), replace(call, layer=layer))
    assert len(searched) == 2


def test_a_recall_out_of_reach_names_the_best() -> None:
    rule = replace(sparse(SpargeAttention(block=16).planner()), recall=0.99, max_density=0.5)
    with pytest.raises(
        UnreachableError,
        match=r"sparge: recall=0.99 cannot be reached in transformer.blocks.3.attn1 with "
        r"at most max_density=0.5 of the pairs; the best is 0\.\d{3} at density 0\.\d{3}: lower recall",
    ):
        rule.wrap(dense)(*draw(GRIDS["video"]), call_of(GRIDS["video"]))


def test_measuring_leaves_no_trace_in_what_a_planner_remembers() -> None:
    (q, k, v), here = here_of(AdaSpa(block=16).planner(), GRIDS["video"])
    planner = AdaSpa(density=0.3, block=16).planner()
    alone, _ = planner.attend(q, k, v, here)
    other = here_of(planner, GRIDS["video"])[1]
    for level in planner.levels():
        measure(planner.having(**level), -q, k, v, other)
    again, _ = planner.attend(q, k, v, other)
    assert torch.equal(again, alone) and not other.call.run.densities


def test_a_budget_sets_a_layer_and_says_where_it_says_nothing() -> None:
    planner = Radial(density=0.4, block=16).planner()
    rule = replace(sparse(planner), budget={"transformer.blocks.3.attn1": {"density": 1.0}})
    call = call_of(GRIDS["video"])
    attend = rule.wrap(dense)
    attend(*draw(GRIDS["video"]), call)
    assert float(call.run.densities["radial"][0]) == 1 and not call.run.notes
    attend(*draw(GRIDS["video"]), replace(call, layer="blocks.4.attn1"))
    assert float(call.run.densities["radial"][1]) < 0.9
    note = "radial: the budget has no entry for transformer.blocks.4.attn1, so it ran with the plug-in's settings"
    assert call.run.notes == [note]
