"""What every planner must do: dense at full density, no empty row, exact text, state and random numbers of its own."""

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.calls.call import Call, Kind, Step
from genkit.attention.calls.run import Run
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.planners.adaspa import AdaSpaPlanner, head_densities
from genkit.attention.planners.frame_anchors import FrameAnchorsPlanner, frame_blocks
from genkit.attention.planners.radial import RadialPlanner
from genkit.attention.planners.sliding_tile import SlidingTilePlanner
from genkit.attention.planners.sparge import SpargePlanner
from genkit.attention.planners.svg import SvgPlanner, band_of
from genkit.attention.planners.svg2 import Svg2Planner, in_chain, k_means
from genkit.attention.planners.threshold import ThresholdPlanner
from genkit.attention.planners.vmoba import VMoBAPlanner
from genkit.attention.planning import planner_call as places
from genkit.attention.planning.rule import SparseRule
from genkit.attention.planning.shared import always_kept, top_share

INF = float("inf")
SPARSE: dict[str, Any] = {
    "radial": RadialPlanner(density=0.4, block=16),
    "svg": SvgPlanner(density=0.3, block=16, rows=16),
    "sparge": SpargePlanner(density=0.3, block=16),
    "sparge-cdf": SpargePlanner(choose="cdf", mass=0.5, block=16),
    "adaspa": AdaSpaPlanner(density=0.3, block=16),
    "adaspa-recall": AdaSpaPlanner(recall=0.6, block=16),
    "threshold": ThresholdPlanner(block=16),
    "sparge-morton": SpargePlanner(density=0.3, block=16, order="morton", first_frame=True),
    "adaspa-morton": AdaSpaPlanner(density=0.3, block=16, order="morton-2d"),
    "threshold-morton": ThresholdPlanner(block=16, order="morton", first_frame=False),
    "svg2": Svg2Planner(top_p=0.3, least=0.05, block=16, query_cluster=24, key_cluster=12),
    "sliding-tile": SlidingTilePlanner(tile=(2, 2, 2), window=(3, 1, 1), block=16),
    "vmoba": VMoBAPlanner(block=16),
    "frame-anchors": FrameAnchorsPlanner(near=1, block=16),
}
FULL: dict[str, Any] = {
    "radial": RadialPlanner(density=1.0, block=16),
    "svg": SvgPlanner(density=1.0, block=16),
    "sparge": SpargePlanner(density=1.0, block=16),
    "sparge-cdf": SpargePlanner(choose="cdf", mass=1.0, similarity=1.0, block=16),
    "adaspa": AdaSpaPlanner(density=1.0, block=16),
    "adaspa-recall": AdaSpaPlanner(recall=1.0, block=16),
    "threshold": ThresholdPlanner(tau=-INF, block=16),
    "threshold-morton": ThresholdPlanner(tau=-INF, block=16, order="morton"),
    "svg2": Svg2Planner(top_p=1.0, least=1.0, block=16, query_cluster=24, key_cluster=12),
    "sliding-tile": SlidingTilePlanner(tile=(2, 2, 2), window=(99, 99, 99), block=16),
    "vmoba": VMoBAPlanner(threshold=1.1, block=16),
    "frame-anchors": FrameAnchorsPlanner(near=99, block=16),
}
GRIDS = {
    "video": VideoGrid(frames=11, rows=3, cols=5, native_frames=5),
    "text first": VideoGrid(frames=11, rows=3, cols=5, native_frames=5, text_tokens=7, text_first=True),
    "text last": VideoGrid(frames=11, rows=3, cols=5, native_frames=5, text_tokens=20),
}


def dense(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=call.mask, scale=call.scale)


def draw(grid: VideoGrid, batch: int = 1, heads: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    q, k, v = 1.5 * torch.randn(3, batch, heads, grid.tokens, 32, generator=make)
    return q, k, v


def call_of(grid: VideoGrid, **change: Any) -> Call:
    kind: Kind = "joint" if grid.text_tokens else "self"
    call = Call(layer="blocks.3.attn1", depth=3, kind=kind, grid=grid, step=Step(index=8, total=10), run=Run())
    return replace(call, **change)


def sparse(planner: Any) -> SparseRule:
    return SparseRule(planner=planner, dense_steps=0, dense_layers=0, min_tokens=1, impl="reference")


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("planner", FULL.values(), ids=FULL)
def test_full_density_is_dense(planner: Any, grid: VideoGrid) -> None:
    q, k, v = draw(grid, batch=2)
    call = call_of(grid)
    out = sparse(planner).wrap(dense)(q, k, v, call)
    torch.testing.assert_close(out, dense(q, k, v, call), atol=5e-6, rtol=1e-5)
    assert float(call.run.densities[planner.name][0]) == pytest.approx(1)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("planner", SPARSE.values(), ids=SPARSE)
def test_something_is_left_out_but_no_query_is_without_its_own_block(
    planner: Any, grid: VideoGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []

    def spy(q: Tensor, k: Tensor, v: Tensor, plan: Any, **how: Any) -> Any:
        plans.append(plan)
        return real(q, k, v, plan, **how)

    real = places.block_sparse
    monkeypatch.setattr(places, "block_sparse", spy)
    call = call_of(grid)
    out = sparse(planner).wrap(dense)(*draw(grid), call)
    assert torch.isfinite(out).all()
    assert 0 < float(call.run.densities[planner.name][0]) < 0.95
    for plan in plans:
        assert plan.keep.diagonal(dim1=-2, dim2=-1).all()


@pytest.mark.parametrize("planner", SPARSE.values(), ids=SPARSE)
@pytest.mark.parametrize("first", [True, False])
def test_real_words_are_read_by_all_and_padding_by_none(planner: Any, first: bool) -> None:
    grid = VideoGrid(frames=11, rows=3, cols=5, native_frames=5, text_tokens=20, text_first=first)
    q, k, v = draw(grid, batch=2)
    mask = torch.ones(2, 1, 1, grid.tokens, dtype=torch.bool)
    begin = grid.text.start
    mask[0, ..., begin + 9 : begin + 20] = False
    call = call_of(grid, mask=mask)
    # The same queries and keys decide which blocks are read; only values differ.
    changed = v.clone()
    changed[0, :, begin + 9 : begin + 20] = 1e4
    attend = sparse(planner).wrap(dense)
    out = attend(q, k, v, call_of(grid, mask=mask))
    torch.testing.assert_close(attend(q, k, changed, call), out)
    word = v.clone()
    word[0, :, begin] += 100
    assert (attend(q, k, word, call_of(grid, mask=mask))[0] - out[0]).abs().amax(-1).min() > 1e-6


@pytest.mark.parametrize("planner", SPARSE.values(), ids=SPARSE)
def test_branches_in_either_order_and_other_sizes_between_change_nothing(planner: Any) -> None:
    grid, other = GRIDS["video"], VideoGrid(frames=9, rows=4, cols=4, native_frames=5)
    inputs = {"cond": draw(grid, seed=1), "uncond": draw(grid, seed=2)}
    alone = {}
    for branch, qkv in inputs.items():
        call = call_of(grid, step=Step(index=8, total=10, branches=(branch,)))
        attend = sparse(planner).wrap(dense)
        alone[branch] = [attend(*qkv, call) for _ in range(2)]
    call, attend = call_of(grid), sparse(planner).wrap(dense)
    for turn in range(2):
        for branch in ("uncond", "cond"):
            mine = replace(call, step=Step(index=8, total=10, branches=(branch,)))
            assert torch.equal(attend(*inputs[branch], mine), alone[branch][turn])
            attend(*draw(other), replace(mine, grid=other))


@pytest.mark.parametrize("planner", SPARSE.values(), ids=SPARSE)
def test_the_callers_random_numbers_stay_as_they_were(planner: Any) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    sparse(planner).wrap(dense)(*draw(GRIDS["video"]), call_of(GRIDS["video"]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["svg", "svg2", "vmoba", "sliding-tile", "sparge-morton"])
def test_planners_that_reorder_do_not_hide_frames_and_say_so(name: str) -> None:
    grid = GRIDS["video"]
    call = call_of(grid, visible=torch.ones(11, 11, dtype=torch.bool))
    out = sparse(SPARSE[name]).wrap(dense)(*draw(grid), call)
    assert torch.equal(out, dense(*draw(grid), call))
    ((plugin, reason),) = call.run.refusals
    assert plugin == SPARSE[name].name and "cannot hide frames" in reason


@pytest.mark.parametrize("name", ["radial", "sparge", "adaspa", "adaspa-morton", "threshold", "frame-anchors"])
def test_hidden_frames_are_not_read(name: str) -> None:
    grid = GRIDS["video"]
    frames = torch.arange(11)
    visible = (frames[:, None] - frames).abs() <= 2
    q, k, v = draw(grid)
    out = sparse(SPARSE[name]).wrap(dense)(q, k, v, call_of(grid, visible=visible))
    v[:, :, -15:] = 1e4
    again = sparse(SPARSE[name]).wrap(dense)(q, k, v, call_of(grid, visible=visible))
    torch.testing.assert_close(again[:, :, : 15 * 8], out[:, :, : 15 * 8])


def test_adaspa_keeps_what_holds_most_and_reports_its_recall() -> None:
    grid = GRIDS["video"]
    q, k, v = draw(grid)
    call = call_of(grid)
    sparse(AdaSpaPlanner(recall=0.7, block=16)).wrap(dense)(q, k, v, call)
    (recall,) = call.run.measures["adaspa", "recall"]
    weights = (q.double() @ k.double().mT * 32**-0.5).softmax(-1)
    plan = next(found for (_, key), found in call.run.memory.found.items() if key[-1] == "plan")[1]
    seen = plan.keep.repeat_interleave(16, -1).repeat_interleave(16, -2)[..., :165, :165]
    exact = (weights * seen).sum((-2, -1)) / 165
    torch.testing.assert_close(recall.double(), exact, atol=1e-5, rtol=1e-5)
    assert (exact >= 0.7).all()


def test_adaspa_searches_once_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.attention.planners import adaspa

    calls: list[int] = []
    real = adaspa.block_mass
    monkeypatch.setattr(adaspa, "block_mass", lambda *a, **k: calls.append(1) or real(*a, **k))
    grid, run = GRIDS["video"], Run()
    attend = sparse(AdaSpaPlanner(block=16, searches=(0.6,))).wrap(dense)
    for index in range(3, 10):
        attend(*draw(grid), call_of(grid, run=run, step=Step(index=index, total=10)))
    assert len(calls) == 2, "at the first sparse step and at 0.6 of the run"


def test_heads_that_keep_much_give_to_those_that_keep_little() -> None:
    kept = torch.tensor([[0.95, 0.5, 0.85, 0.7]])
    assert head_densities(kept, 0.2).tolist() == [[0.1, pytest.approx(0.3), 0.1, pytest.approx(0.3)]]
    assert head_densities(torch.full((1, 4), 0.5), 0.2).tolist() == [[0.2] * 4]


def test_the_greatest_of_each_row_are_kept() -> None:
    score = torch.tensor([[[[0.1, 0.9, 0.5, 0.3], [0.4, 0.1, 0.2, 0.3]]]])
    assert top_share(score, 0.5)[0, 0].tolist() == [[False, True, True, False], [True, False, False, True]]
    assert top_share(score, torch.tensor([[0.25]]))[0, 0].sum(-1).tolist() == [1, 1]


def test_text_and_the_first_frame_are_kept() -> None:
    grid = VideoGrid(frames=4, rows=2, cols=4, text_tokens=5)
    keep = always_kept(grid, 8, first_frame=True)
    assert keep[:, 0].all() and keep[:, 4].all() and keep[4].all()
    assert keep[1:4, 1:4].equal(torch.eye(3, dtype=torch.bool))


def test_the_band_has_the_density_asked_for() -> None:
    grid = VideoGrid(frames=64, rows=8, cols=8)
    for density in (0.1, 0.3, 0.6):
        assert float(band_of(grid, 16, density).float().mean()) == pytest.approx(density, abs=0.02)


def test_temporal_heads_are_found() -> None:
    """A head that looks along time, and one that looks along its frame."""
    grid = VideoGrid(frames=16, rows=4, cols=4)
    place = F.one_hot(torch.arange(16).repeat(16), 16).float()
    frame = F.one_hot(torch.arange(16).repeat_interleave(16), 16).float()
    q = 30 * torch.stack([place, frame])[None]
    v = torch.randn(1, 2, 256, 16, generator=torch.Generator().manual_seed(0))
    planner = SvgPlanner(density=0.2, block=16, first_frame=False)
    here = sparse(planner)._here(planner, q, call_of(grid))
    assert planner._judge(q, q, v, here).tolist() == [[True, False]]


def test_anchors_are_bounded_whatever_the_length_and_move_on() -> None:
    planner = FrameAnchorsPlanner(near=2, first=1, key_frames=3)
    for frames in (40, 80, 160):
        grid = VideoGrid(frames=frames, rows=1, cols=1, native_frames=9)
        read = planner.frames_read(grid, 0)
        assert int(read.sum(1).max()) <= 1 + 3 + 5 + 1 and read.diagonal().all() and read[:, 0].all()
    first, second = (planner.frames_read(VideoGrid(frames=40, rows=1, cols=1), turn) for turn in (0, 1))
    assert first[20, 14] and not first[20, 15] and second[20, 15]


@pytest.mark.parametrize(
    ("frames", "native", "interval", "mean"),
    [(41, 21, 3, 64 / 3), (61, 21, 4, 23.5), (83, 21, 6, 65 / 3), (126, 21, 9, 197 / 9), (65, 33, 3, 88 / 3),
     (45, 33, 2, 30), (25, 21, 2, 20), (33, 9, 32, 318 / 32)],
)  # fmt: skip
def test_anchors_make_up_the_training_length_as_in_the_published_code(
    frames: int, native: int, interval: int, mean: float
) -> None:
    """Turn by turn: ``ceil(T / k)`` key frames that wrap around, the first frame, and seven others."""
    planner, grid = FrameAnchorsPlanner(), VideoGrid(frames=frames, rows=1, cols=1, native_frames=native)
    assert planner.interval(grid) == interval
    counts = []
    for turn in range(2 * interval):
        keys = {(turn % interval + number * interval) % frames for number in range(math.ceil(frames / interval))}
        read = planner.frames_read(grid, turn)
        assert set(read.all(0).nonzero().flatten().tolist()) >= keys | {0}
        assert set(read.sum(1).tolist()) == {len(keys | {0}) + 7}
        counts.append(float(read.sum(1).float().mean()))
    assert sum(counts) / len(counts) == pytest.approx(mean)


def test_windows_between_anchors_grow_to_the_left_and_right_in_turn() -> None:
    """Frame 12 of 40, anchors at 0, 3, 6...: 10, 11, 13 and 14 lie within two frames; the fifth comes from the left."""
    grid = VideoGrid(frames=40, rows=1, cols=1, native_frames=19)
    planner = FrameAnchorsPlanner(near=2, first=1, key_frames=14)
    other = [frame for frame in planner.frames_read(grid, 0)[12].nonzero().flatten().tolist() if frame % 3]
    assert other == [8, 10, 11, 13, 14]
    ends = [planner.frames_read(grid, 0)[row].nonzero().flatten().tolist() for row in (0, 39)]
    assert [frame for frame in ends[0] if frame % 3] == [1, 2, 4, 5, 7]
    assert [frame for frame in ends[1] if frame % 3] == [32, 34, 35, 37, 38]


def test_blocks_hold_the_frames_that_are_read() -> None:
    grid = VideoGrid(frames=4, rows=1, cols=6)
    read = torch.eye(4, dtype=torch.bool)
    assert frame_blocks(grid, read, 8).int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    ("tile", "block", "shape", "fix"),
    [
        ((3, 5, 5), 64, (9, 10, 10), "tiles of a multiple of 64 tokens would not"),
        ((3, 4, 4), 64, (9, 8, 8), "block=48 would not"),
        ((4, 4, 4), 64, (8, 8, 8), None),
    ],
)
def test_blocks_that_do_not_divide_tiles_are_told(
    tile: tuple[int, int, int], block: int, shape: tuple[int, int, int], fix: str | None
) -> None:
    grid = VideoGrid(frames=shape[0], rows=shape[1], cols=shape[2])
    call = call_of(grid)
    sparse(SlidingTilePlanner(tile=tile, window=(1, 1, 1), block=block)).wrap(dense)(*draw(grid), call)
    told = [note for note in call.run.notes if note.startswith("sliding-tile")]
    start = f"sliding-tile: blocks of {block} tokens do not divide tiles of {math.prod(tile)}, so blocks that lie in"
    assert [note.startswith(start) and note.endswith(f"; {fix}") for note in told] == ([True] if fix else [])


def test_clusters_stand_in_a_chain_of_nearest_neighbours() -> None:
    """Centres on a line at 0, 9, 1, 8 and 2: from the first on 0, 1, 2, 8, 9."""
    centre = torch.tensor([0.0, 9, 1, 8, 2])[None, None, :, None].expand(2, 3, 5, 1)
    label = torch.tensor([0, 1, 2, 3, 4, 1]).expand(2, 3, 6)
    again, chain = in_chain(label, centre)
    assert (chain[..., 0] == torch.tensor([0.0, 1, 2, 8, 9])).all()
    assert torch.equal(chain.gather(2, again[..., None]), centre.gather(2, label[..., None])), "the same clusters"


def test_k_means_gives_the_same_a_few_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3, 50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label, centre = k_means(x, x[:, :, :7], 3)
    monkeypatch.setattr("genkit.attention.planners.svg2.DISTANCES_AT_ONCE", 2 * 3 * 7 * 4)
    again, same = k_means(x, x[:, :, :7], 3)
    assert torch.equal(again, label)
    torch.testing.assert_close(same, centre)


@pytest.mark.parametrize(
    ("grid", "what"),
    [
        (VideoGrid(frames=9, rows=8, cols=8), "the smaller tiles at the ends of 9 x 8 x 8 tokens"),
        (VideoGrid(frames=8, rows=6, cols=8), "the smaller tiles at the ends of 8 x 6 x 8 tokens"),
        (
            VideoGrid(frames=8, rows=8, cols=8, text_tokens=21, text_first=True),
            r"what stands before the tiles \(21 tokens of text\)",
        ),
    ],
)
def test_what_blocks_across_tiles_read_is_told_beside_what_tiles_would(grid: VideoGrid, what: str) -> None:
    """Both densities are counted here token by token."""
    planner = SlidingTilePlanner(tile=(4, 4, 4), window=(1, 1, 1), block=64)
    call = call_of(grid)
    sparse(planner).wrap(dense)(*draw(grid), call)
    place = torch.cartesian_prod(*(torch.arange(n) // 4 for n in (grid.frames, grid.rows, grid.cols)))
    pairs = (place[:, None] == place).all(-1)
    ideal = 1 - float((~pairs).sum()) / grid.tokens**2
    ran = float(call.run.densities["sliding-tile"][0])
    assert ran > 1.01 * ideal
    (note,) = call.run.notes
    said = f"do not divide {what}, so .* a density of {ran:.3f} where whole tiles have {ideal:.3f}; smaller blocks come"
    assert re.search(said, note)


def test_k_means_finds_clear_clusters() -> None:
    centres = 10 * torch.eye(3)
    label = torch.tensor([0, 1, 2] * 20)
    x = (centres[label] + 0.1 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0)))[None, None]
    found, centre = k_means(x, x[:, :, [0, 1, 2]], 3)
    assert torch.equal(found[0, 0], label)
    torch.testing.assert_close(centre[0, 0], centres, atol=0.1, rtol=0)


def test_video_no_longer_than_the_training_has_no_anchors() -> None:
    grid = replace(GRIDS["video"], native_frames=11)
    call = call_of(grid)
    sparse(SPARSE["frame-anchors"]).wrap(dense)(*draw(grid), call)
    ((_, reason),) = call.run.refusals
    assert reason == "11 latent frames are no more than the 11 of the training"
