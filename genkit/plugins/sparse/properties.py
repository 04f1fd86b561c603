"""Properties of every sparse method, as functions for tests, also of methods in other packages.

    @pytest.mark.parametrize("check", PROPERTIES, ids=lambda check: check.__name__)
    def test_my_method(check):
        check(*examples(MyMethod))

Each takes two settings of a method, one that skips much and one that skips nothing, and raises ``AssertionError``. They
run in seconds on a CPU: two heads of width 32, 165 video tokens, blocks of 16.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from genkit.attention.calls.call import Call, Kind, Step
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.plan import BlockPlan
from genkit.attention.planning.measure import measure
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.rule import SparseRule
from genkit.plugins.catalogue import make
from genkit.plugins.contract import Target
from genkit.plugins.sparse.method import Sparse
from genkit.plugins.text import split_text

Property = Callable[[Sparse, Sparse], None]
"""``(sparse, dense)``: raises ``AssertionError`` unless the method has the property."""
GRIDS = (
    VideoGrid(frames=11, rows=3, cols=5, native_frames=5),
    VideoGrid(frames=11, rows=3, cols=5, native_frames=5, before=7),
    VideoGrid(frames=11, rows=3, cols=5, native_frames=5, after=20),
    VideoGrid(frames=11, rows=3, cols=5, native_frames=5, before=7, after=20),
)
"""Without other tokens, and with some before, after and on both sides of the video."""
OTHER = VideoGrid(frames=9, rows=4, cols=4, native_frames=5)
EVERYWHERE: dict[str, Any] = {"block": 16, "min_tokens": 1, "dense_steps": 0.0, "dense_layers": 0, "impl": "reference"}


def examples(method: type[Sparse]) -> tuple[Sparse, Sparse]:
    """Return the settings of ``sparse_example`` and ``dense_example``."""
    texts = (f"{method.name}:{text}" for text in (method.sparse_example, method.dense_example))
    sparse, dense = (cast(Sparse, make(method, dict(split_text(text)[1]))) for text in texts)
    return sparse, dense


def full_density_is_dense(sparse: Sparse, dense: Sparse) -> None:
    """Check that the setting that skips nothing gives dense attention, and reports density 1."""
    for grid in GRIDS:
        (q, k, v), call = drawn(grid, batch=2), call_of(grid)
        assert_close(attention(dense, grid)(q, k, v, call), plain(q, k, v, call), atol=5e-6, rtol=1e-5)
        for density in call.run.densities[dense.name]:
            _require(abs(float(density) - 1) < 1e-6, f"density {float(density)} of a call that leaves out nothing")


def much_is_left_out_but_no_query_is_without_its_own_block(sparse: Sparse, dense: Sparse) -> None:
    """Check that the sparse setting computes less than 0.95 of the pairs, and that each query block reads its own keys,
    so that no row is empty."""
    for grid in GRIDS:
        (q, k, v), call = drawn(grid), call_of(grid)
        _require(bool(attention(sparse, grid)(q, k, v, call).isfinite().all()), "the output is not finite")
        density = float(call.run.densities[sparse.name][0])
        _require(0 < density < 0.95, f"density {density} of the sparse setting; give it another sparse_example")
        for plan in plans(sparse, grid, q, k, v):
            _require(bool(plan.keep.diagonal(dim1=-2, dim2=-1).all()), "a block of queries does not read its own keys")


def words_are_read_by_all_and_padding_by_none(sparse: Sparse, dense: Sparse) -> None:
    """Check that every query reads every word of the text, and none reads padding."""
    for first in (True, False):
        grid = replace(GRIDS[0], before=20 if first else 0, after=0 if first else 20)
        (q, k, v), attend, begin = drawn(grid, batch=2), attention(sparse, grid), grid.others[0].start
        mask = torch.ones(2, 1, 1, grid.tokens, dtype=torch.bool)
        mask[0, ..., begin + 9 : begin + 20] = False
        out = attend(q, k, v, call_of(grid, mask=mask))
        padded, word = v.clone(), v.clone()  # queries and keys decide what is read: only values differ
        padded[0, :, begin + 9 : begin + 20] = 1e4
        word[0, :, begin] += 100
        assert_close(attend(q, k, padded, call_of(grid, mask=mask)), out)
        moved = (attend(q, k, word, call_of(grid, mask=mask))[0] - out[0]).abs().amax(-1).min()
        _require(float(moved) > 1e-6, "a query does not read the first word of the text")


def branches_and_sizes_do_not_meet(sparse: Sparse, dense: Sparse) -> None:
    """Check that the order of guidance branches, and calls of another size between them, change nothing."""
    inputs = {"cond": drawn(GRIDS[0], seed=1), "uncond": drawn(GRIDS[0], seed=2)}
    alone = {}
    for branch, qkv in inputs.items():
        attend, call = attention(sparse, GRIDS[0]), call_of(GRIDS[0], step=_step(branch))
        alone[branch] = [attend(*qkv, call) for _ in range(2)]
    attend, run = attention(sparse, GRIDS[0]), RunRecord()
    for turn in range(2):
        for branch in ("uncond", "cond"):
            found = attend(*inputs[branch], call_of(GRIDS[0], run=run, step=_step(branch)))
            _require(torch.equal(found, alone[branch][turn]), f"{branch} differs beside the other branch or size")
            attend(*drawn(OTHER), call_of(OTHER, run=run, step=_step(branch)))


def random_numbers_stay_as_they_were(sparse: Sparse, dense: Sparse) -> None:
    """Check that the global random state does not change."""
    before = torch.get_rng_state()
    attention(sparse, GRIDS[0])(*drawn(GRIDS[0]), call_of(GRIDS[0]))
    _require(torch.equal(torch.get_rng_state(), before), "the method draws from the caller's random numbers")


def hidden_frames_are_not_read(sparse: Sparse, dense: Sparse) -> None:
    """Check that hidden frames are not read, or that such a call is refused and dense, as ``hides_frames`` says."""
    grid, frames = GRIDS[0], torch.arange(11)
    call = call_of(grid, visible=(frames[:, None] - frames).abs() <= 2)
    (q, k, v), attend = drawn(grid), attention(sparse, grid)
    out = attend(q, k, v, call)
    if not sparse.can_hide_frames:
        _require(bool(call.run.refusals) and torch.equal(out, plain(q, k, v, call)), "hidden frames are not refused")
        return
    changed = v.clone()
    changed[:, :, -15:] = 1e4
    again = attend(q, k, changed, replace(call, run=RunRecord()))
    assert_close(again[:, :, : 15 * 8], out[:, :, : 15 * 8])


def levels_go_from_sparse_to_dense(sparse: Sparse, dense: Sparse) -> None:
    """Check that the densities of the planner's levels increase up to dense, and that a budget can contain each."""
    grid, target = GRIDS[0], target_of(GRIDS[0])
    (q, k, v), rule, found = drawn(grid), rule_of(sparse, grid), []
    for level in rule.planner.levels():
        tried = rule.planner.having(**sparse.in_layer(level, target))
        found.append(measure(tried, q, k, v, rule.planner_call(tried, q, call_of(grid))))
    densities = [float(one.density) for one in found]
    _require(densities == sorted(densities) and densities[0] < 0.7, f"the levels have densities {densities}")
    _require(float(found[-1].recall.min()) > 0.9999, "the last level does not keep everything")


PROPERTIES: tuple[Property, ...] = (
    full_density_is_dense,
    much_is_left_out_but_no_query_is_without_its_own_block,
    words_are_read_by_all_and_padding_by_none,
    branches_and_sizes_do_not_meet,
    random_numbers_stay_as_they_were,
    hidden_frames_are_not_read,
    levels_go_from_sparse_to_dense,
)


@dataclass(frozen=True, kw_only=True)
class PlanRecorder(PlannerCall):
    """Context that stores each executed plan."""

    seen: list[BlockPlan] = field(default_factory=list)

    def on_plan(self, q: Tensor, k: Tensor, v: Tensor, plan: Callable[[], BlockPlan]) -> None:
        """Store the plan."""
        self.seen.append(plan())


def plans(plugin: Sparse, grid: VideoGrid, q: Tensor, k: Tensor, v: Tensor) -> list[BlockPlan]:
    """Return the plans that one call executes."""
    rule = rule_of(plugin, grid)
    here = rule.planner_call(rule.planner, q, call_of(grid))
    recorder = PlanRecorder(**{one.name: getattr(here, one.name) for one in fields(PlannerCall)})
    rule.planner.attend(q, k, v, recorder)
    return recorder.seen


def target_of(grid: VideoGrid) -> Target:
    """Return a target whose attention includes the text of ``grid``, if it has text."""
    kind = "joint" if grid.other_tokens else "self"
    return Target(family="test", title="test", native_frames=grid.native_frames, kinds=frozenset({kind}))


def rule_of(plugin: Sparse, grid: VideoGrid) -> SparseRule:
    """Return the rule of a method that runs every call sparse, in blocks of 16."""
    (rule,) = replace(plugin, **EVERYWHERE).parts(target_of(grid)).rules
    assert isinstance(rule, SparseRule)
    return rule


def attention(plugin: Sparse, grid: VideoGrid) -> Callable[[Tensor, Tensor, Tensor, Call], Tensor]:
    """Return the attention of a method around dense attention."""
    return rule_of(plugin, grid).wrap(plain)


def plain(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    """Return dense attention."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=call.mask, scale=call.scale)


def drawn(grid: VideoGrid, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return random queries, keys and values ``[batch, 2, tokens, 32]`` for a seed."""
    q, k, v = 1.5 * torch.randn(3, batch, 2, grid.tokens, 32, generator=torch.Generator().manual_seed(seed))
    return q, k, v


def call_of(grid: VideoGrid, **change: Any) -> Call:
    """Return a call late in a run."""
    kind: Kind = "joint" if grid.other_tokens else "self"
    call = Call(layer="blocks.3.attn1", depth=3, kind=kind, grid=grid, step=_step("cond"), run=RunRecord())
    return replace(call, **change)


def _step(branch: str) -> Step:
    return Step(index=8, total=10, branches=(branch,))


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)
