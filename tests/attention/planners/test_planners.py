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
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.planners.adaspa import head_densities
from genkit.attention.planners.frame_anchors import frame_blocks
from genkit.attention.planners.svg import band_of
from genkit.attention.planners.svg2 import in_chain, k_means
from genkit.attention.planning.measure import UnreachableError
from genkit.attention.planning.rule import SparseRule
from genkit.attention.planning.shared import always_kept, top_share
from genkit.plugins import catalogue
from genkit.plugins.sparse import methods, properties
from genkit.plugins.sparse.adaspa import AdaSpa
from genkit.plugins.sparse.frame_anchors import FrameAnchors
from genkit.plugins.sparse.method import Sparse
from genkit.plugins.sparse.sliding_tile import SlidingTile
from genkit.plugins.sparse.sparge import SpargeAttention
from genkit.plugins.sparse.svg import SVG
from genkit.plugins.sparse.threshold import Threshold

VARIANTS: dict[str, tuple[Sparse, Sparse]] = {
    "sparge, cdf": (SpargeAttention(choose="cdf", mass=0.5), SpargeAttention(choose="cdf", mass=1.0, similarity=1.0)),
    "sparge, morton": (SpargeAttention(density=0.3, order="morton", first_frame=True), SpargeAttention(density=1.0)),
    "adaspa, recall": (AdaSpa(recall=0.6), AdaSpa(recall=1.0)),
    "adaspa, morton": (AdaSpa(density=0.3, order="morton-2d"), AdaSpa(density=1.0, order="morton-2d")),
    "threshold, morton": (Threshold(order="morton"), Threshold(tau=-1000.0, order="morton")),
    "frame-anchors, near": (FrameAnchors(near=1), FrameAnchors(near=99)),
    "sliding-tile, frames": (SlidingTile(tile=(2, 2, 2), window=(3, 1, 1)), SlidingTile(window=(99, 99, 99))),
}
"""Settings of which the examples of a method say nothing: some that leave out much, some that leave out nothing."""
METHODS: dict[str, Any] = {name: catalogue.plugin_class(name) for name in methods.names()}
CASES = {name: properties.examples(method) for name, method in METHODS.items()} | VARIANTS
SPARSE = {name: replace(case[0], block=16).planner() for name, case in CASES.items()}
FULL = {name: replace(case[1], block=16).planner() for name, case in CASES.items()}
GRIDS = {
    "video": VideoGrid(frames=11, rows=3, cols=5, native_frames=5),
    "text first": VideoGrid(frames=11, rows=3, cols=5, native_frames=5, before=7),
    "text last": VideoGrid(frames=11, rows=3, cols=5, native_frames=5, after=20),
    "text on both sides": VideoGrid(frames=11, rows=3, cols=5, native_frames=5, before=7, after=20),
}


def dense(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=call.mask, scale=call.scale)


def draw(grid: VideoGrid, batch: int = 1, heads: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    q, k, v = 1.5 * torch.randn(3, batch, heads, grid.tokens, 32, generator=make)
    return q, k, v


def call_of(grid: VideoGrid, **change: Any) -> Call:
    kind: Kind = "joint" if grid.other_tokens else "self"
    call = Call(layer="blocks.3.attn1", depth=3, kind=kind, grid=grid, step=Step(index=8, total=10), run=RunRecord())
    return replace(call, **change)


def sparse(planner: Any) -> SparseRule:
    return SparseRule(planner=planner, dense_steps=0, dense_layers=0, min_tokens=1, impl="reference")


@pytest.mark.parametrize("holds", properties.PROPERTIES, ids=lambda holds: holds.__name__)
@pytest.mark.parametrize("name", CASES)
def test_every_method_has_every_property(name: str, holds: properties.Property) -> None:
    if (name, holds) == ("adaspa, recall", properties.hidden_frames_are_not_read):
        with pytest.raises(UnreachableError, match="recall=0.6 cannot be reached"):  # its search counts all frames
            holds(*CASES[name])
        return
    holds(*CASES[name])


def test_planners_that_reorder_do_not_hide_frames_and_say_so() -> None:
    grid, refusing = GRIDS["video"], set()
    for name, planner in SPARSE.items():
        call = call_of(grid, visible=torch.ones(11, 11, dtype=torch.bool))
        sparse(planner).wrap(dense)(*draw(grid), call)
        for plugin, reason in call.run.refusals:
            assert plugin == planner.name and "cannot hide frames" in reason
            refusing.add(name)
    assert refusing == {
        "svg",
        "svg2",
        "vmoba",
        "sliding-tile",
        "sliding-tile, frames",
        "sparge, morton",
        "threshold, morton",
    }


def test_adaspa_keeps_what_holds_most_and_reports_its_recall() -> None:
    grid = GRIDS["video"]
    q, k, v = draw(grid)
    call = call_of(grid)
    sparse(AdaSpa(recall=0.7, block=16).planner()).wrap(dense)(q, k, v, call)
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
    grid, run = GRIDS["video"], RunRecord()
    attend = sparse(AdaSpa(block=16, searches=(0.6,)).planner()).wrap(dense)
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
    grid = VideoGrid(frames=4, rows=2, cols=4, after=5)
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
    planner = SVG(density=0.2, block=16, first_frame=False).planner()
    here = sparse(planner).planner_call(planner, q, call_of(grid))
    assert planner._is_temporal(q, q, v, here).tolist() == [[True, False]]


def test_anchors_are_bounded_whatever_the_length_and_move_on() -> None:
    planner = FrameAnchors(near=2, first=1, key_frames=3).planner()
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
    planner, grid = FrameAnchors().planner(), VideoGrid(frames=frames, rows=1, cols=1, native_frames=native)
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
    planner = FrameAnchors(near=2, first=1, key_frames=14).planner()
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
    sparse(SlidingTile(tile=tile, window=(1, 1, 1), block=block).planner()).wrap(dense)(*draw(grid), call)
    told = [note for note in call.run.notes if note.startswith("sliding-tile")]
    start = f"sliding-tile: blocks of {block} tokens do not divide tiles of {math.prod(tile)}, so blocks that overlap"
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
            VideoGrid(frames=8, rows=8, cols=8, before=21),
            r"the 21 other tokens beside the tiles",
        ),
    ],
)
def test_what_blocks_across_tiles_read_is_told_beside_what_tiles_would(grid: VideoGrid, what: str) -> None:
    """Both densities are counted here token by token."""
    planner = SlidingTile(tile=(4, 4, 4), window=(1, 1, 1), block=64).planner()
    call = call_of(grid)
    sparse(planner).wrap(dense)(*draw(grid), call)
    place = torch.cartesian_prod(*(torch.arange(n) // 4 for n in (grid.frames, grid.rows, grid.cols)))
    pairs = (place[:, None] == place).all(-1)
    ideal = 1 - float((~pairs).sum()) / grid.tokens**2
    ran = float(call.run.densities["sliding-tile"][0])
    assert ran > 1.01 * ideal
    (note,) = call.run.notes
    said = f"do not divide {what}, so .* a density of {ran:.3f} instead of {ideal:.3f} for whole tiles; smaller"
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
