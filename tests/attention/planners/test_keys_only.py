"""Tokens that are read and ask nothing, in front of the video: rules count them, and nothing else changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from sparse_settings import NAMES, SPARSE, text
from test_planners import call_of, draw, sparse
from torch import Tensor

from genkit.attention.calls.call import Call
from genkit.attention.calls.dense import dense
from genkit.attention.calls.keys_only import attend_with_all_queries
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.planners.radial_mask import radial_plan
from genkit.attention.planning.measure import measure
from genkit.attention.rules.spectral_blend import SpectralBlendRule
from genkit.attention.rules.windows import WindowRule
from genkit.plugins import catalogue
from genkit.plugins.sparse.radial import Radial

GRID = VideoGrid(frames=5, rows=3, cols=4, before=16, keys_only=16, after=5, native_frames=2)
"""16 tokens of text that ask nothing, 60 of video, 5 of sound."""
SPARE = GRID.keys_only
WINDOWS = WindowRule(window=3, stride=1)
BLEND = SpectralBlendRule(radius=1, until=1.0, cutoff_time=0.25, cutoff_space=0.25, native_frames=2)


def few_queries(attend: Any, call: Call) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The answer to the model's own queries, and all queries, keys and values; those of the text are arbitrary."""
    q, k, v = draw(GRID)
    return attend_with_all_queries(attend, q[:, :, SPARE:], k, v, call), (q, k, v)


def test_dense_attention_is_that_of_the_models_own_queries_bit_for_bit() -> None:
    out, (q, k, v) = few_queries(dense, call_of(GRID))
    right = torch.nn.functional.scaled_dot_product_attention(q[:, :, SPARE:], k, v)
    assert torch.equal(out, right)


@pytest.mark.parametrize("rule", [WINDOWS, BLEND, sparse(Radial(density=0.5, block=8).planner())])
def test_what_asks_nothing_changes_no_other_row(rule: Any) -> None:
    """The same tokens with queries of their own, which a rule without statistics of the queries must not notice."""
    out, (q, k, v) = few_queries(rule.wrap(dense), call_of(GRID))
    whole = rule.wrap(dense)(q, k, v, call_of(replace(GRID, keys_only=0)))
    assert torch.allclose(out, whole[:, :, SPARE:], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_sparse_method_takes_such_calls_and_counts_its_pairs(name: str) -> None:
    planner = catalogue.parse(text(SPARSE, name)).planner()
    call = call_of(GRID)
    out, _ = few_queries(sparse(planner).wrap(dense), call)
    assert out.shape[2] == GRID.tokens - SPARE and torch.isfinite(out).all()
    assert not call.run.refusals
    (share,) = call.run.densities[planner.name]
    assert 0 < float(share) <= 1


def test_density_and_recall_are_over_the_models_own_queries() -> None:
    """Written out: from row 16 on, which is where a block of 8 begins, the plan's rows are exactly those."""
    plan = radial_plan(GRID, block=8, density=0.5)
    read = plan.keep[0, 0].repeat_interleave(8, 0).repeat_interleave(8, 1)[SPARE : GRID.tokens, : GRID.tokens]
    q, k, v = draw(GRID)
    weights = (q[:, :, SPARE:] @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    q[:, :, :SPARE] = 0
    rule, call = sparse(Radial(density=0.5, block=8).planner()), call_of(GRID)
    few_queries(rule.wrap(dense), call)
    (share,) = call.run.densities["radial"]
    assert float(share) == pytest.approx(float(read.float().mean()), abs=1e-5)
    found = measure(rule.planner, q, k, v, rule.planner_call(rule.planner, q, call))
    assert float(found.density) == pytest.approx(float(share), abs=1e-5)
    assert torch.allclose(found.recall, weights.masked_fill(~read, 0).sum(-1).mean(-1), atol=1e-4)


def test_heads_that_share_keys_attend_as_with_keys_of_their_own() -> None:
    q, k, v = draw(GRID)
    k, v = k[:, :1], v[:, :1]
    call = call_of(GRID, options={"enable_gqa": True})
    rule = sparse(Radial(density=1.0, block=8).planner())
    out = attend_with_all_queries(rule.wrap(dense), q[:, :, SPARE:], k, v, call)
    right = torch.nn.functional.scaled_dot_product_attention(q[:, :, SPARE:], k, v, enable_gqa=True)
    assert not call.run.refusals
    assert torch.allclose(out, right, atol=1e-5)
