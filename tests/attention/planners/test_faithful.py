"""Figures that docstrings and documentation quote of the methods beside their sources, at the sizes of real models.

Only plans are made here, not attention: they cost little at any length. Queries and keys are random, as in the figures.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.operators.pool import pool
from genkit.attention.planners.adaspa import AdaSpaPlanner
from genkit.attention.planning.planner_call import PlannerCall
from genkit.attention.planning.rule import SparseRule
from genkit.plugins import catalogue
from genkit.plugins.contract import Target
from genkit.plugins.sparse.adaspa import AdaSpa
from genkit.schedulers.windows import windows_over

WAN = Target(family="wan", title="Wan 2.1", native_frames=21, kinds=frozenset({"self", "cross"}))
WAN_480P = VideoGrid(frames=21, rows=30, cols=52)
"""81 frames of 480 x 832: 32,760 tokens, 512 blocks of 64."""


def call_of(grid: VideoGrid, **changes: Any) -> Call:
    return Call(
        layer="blocks.1.attn1", depth=1, kind="self", grid=grid, **{"run": RunRecord(), "step": Step()} | changes
    )


def planned(text: str, grid: VideoGrid = WAN_480P, target: Target = WAN) -> tuple[Any, PlannerCall, Tensor, Tensor]:
    """The planner of a plug-in, where it stands, and random queries and keys of one head."""
    (rule,) = catalogue.parse(text).parts(target).rules
    assert isinstance(rule, SparseRule)
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, grid.tokens, 128, generator=generator) for _ in range(2))
    return rule.planner, rule.planner_call(rule.planner, q, call_of(grid)), q, k


@pytest.mark.parametrize(
    ("setting", "density"),
    [("tau=1", 0.164), ("tau=1.5", 0.072), ("tau=2", 0.0285), ("tau=1,first_frame=none", 0.243),
     ("tau=1.5,first_frame=none", 0.161), ("tau=2,first_frame=none", 0.121)],
)  # fmt: skip
def test_threshold_reads_what_its_source_reads(setting: str, density: float) -> None:
    planner, here, q, k = planned(f"threshold:{setting}")
    assert float(planner.plan(q, k, here).density) == pytest.approx(density, abs=0.004)


def test_threshold_by_means_of_half_precision_differs_in_less_than_a_block_of_a_thousand() -> None:
    planner, here, q, k = planned("threshold:tau=1")
    coarse = [pool(x, 64)[0].bfloat16().float().repeat_interleave(64, 2)[:, :, : q.shape[2]] for x in (q, k)]
    changed = planner.plan(*coarse, here).keep != planner.plan(q, k, here).keep
    assert 0 < float(changed.float().mean()) < 1 / 1000


@pytest.mark.parametrize(
    ("setting", "density"),
    [("density=0.3", 0.302), ("density=0.5", 0.501), ("density=0.3,first_frame=none", 0.336),
     ("density=0.5,first_frame=none", 0.525)],
)  # fmt: skip
def test_sparge_reads_what_is_asked_for_its_own_block_and_a_rounding(setting: str, density: float) -> None:
    """154 blocks of a row at 0.3, where the source has 153, and the diagonal where it is not among them."""
    planner, here, q, k = planned(f"sparge:{setting}")
    plan = planner.plan(q, k, here)
    assert float(plan.keep.float().mean()) == pytest.approx(density, abs=0.001)
    if setting == "density=0.3":
        assert set(plan.keep.sum(-1).unique().tolist()) == {154, 155}


@pytest.mark.parametrize(
    ("setting", "density"),
    [("", 0.3452), ("rule=published", 0.3438), ("decay=1", 0.4534), ("decay=1,rule=published", 0.4492)],
)
def test_radial_has_the_density_of_the_authors_mask(setting: str, density: float) -> None:
    planner, here, _, _ = planned(f"radial:{setting}")
    plan = planner._plan(here)
    assert (plan.block, float(plan.keep.float().mean())) == (128, pytest.approx(density, abs=5e-5))


@pytest.mark.parametrize(
    ("size", "text", "executed", "ideal"),
    [((21, 30, 52), 0, 0.299, 0.272), ((21, 45, 80), 0, None, None), ((33, 45, 80), 256, None, None)],
    ids=["Wan 480p", "Wan 720p", "HunyuanVideo 720p"],
)
def test_sliding_tiles_on_real_sizes_read_more_than_tiles_and_say_so(
    size: tuple[int, int, int], text: int, executed: float | None, ideal: float | None
) -> None:
    grid = VideoGrid(frames=size[0], rows=size[1], cols=size[2], after=text)
    planner, here, _, _ = planned("sliding-tile", grid)
    density, whole = float(planner._planned(here)[1]), planner.ideal_density(grid)
    if executed is not None:
        assert (density, whole) == (pytest.approx(executed, abs=1e-3), pytest.approx(ideal, abs=1e-3))
    assert 1.05 < density / whole < 1.17
    assert f"a density of {density:.3f} instead of {whole:.3f} for whole tiles" in here.call.run.notes[0]


def shares_by_hand(q: Tensor, k: Tensor, chunk: Tensor, threshold: float) -> Tensor:
    """Chunks that each token reads by itself, bool ``[tokens, chunks]``, from the formula; ``chunk`` of each token."""
    means = torch.stack([k[chunk == one].mean(0) for one in range(int(chunk.max()) + 1)])
    rows = []
    for token, gate in enumerate(q @ means.T):
        share = (gate - gate.min()) / (gate.max() - gate.min())
        share = share / share.sum()
        own = int(chunk[token])
        read, held = {own}, float(share[own])
        for other in share.argsort(descending=True).tolist():
            if other != own and held < threshold:
                read.add(other)
                held += float(share[other])
        rows.append([one in read for one in range(len(means))])
    return torch.tensor(rows)


@pytest.mark.parametrize(
    ("depth", "sides", "block"), [(0, (2, 6, 8), 48), (1, (4, 3, 4), 48), (2, (4, 6, 4), 48), (3, (2, 6, 8), 48)]
)
def test_vmoba_reads_the_chunks_that_each_query_would_choose(
    depth: int, sides: tuple[int, int, int], block: int
) -> None:
    """Two frames, 3 x 4 tokens of all frames, or 4 x 6 x 4 tokens; queries of a block are alike and choose alike."""
    grid = VideoGrid(frames=4, rows=6, cols=8)
    planner, here, q, k = planned("vmoba", grid)
    here = dataclasses.replace(here, call=dataclasses.replace(here.call, depth=depth))
    place = torch.cartesian_prod(*(torch.arange(n) // side for n, side in zip((4, 6, 8), sides, strict=True)))
    chunk = place.unique(dim=0, return_inverse=True)[1].sort().values
    q = q[:, :, ::block].repeat_interleave(block, 2)
    plan = planner.plan(q, k, here)
    expected = shares_by_hand(q[0, 0], k[0, 0], chunk, 0.25)[:, chunk]
    assert plan.block == block and float(plan.density) < 0.9
    assert torch.equal(plan.keep[0, 0].repeat_interleave(block, 0).repeat_interleave(block, 1), expected)


@pytest.mark.parametrize(
    ("depth", "frames", "block", "tokens", "density"),
    [(0, 20, 48, 3120, 0.220), (1, 20, 48, 240, 0.163), (2, 20, 48, 96, 0.166), (0, 21, 48, 3120, 0.214),
     (1, 21, 63, 252, 0.163), (2, 21, 48, 96, 0.165)],
)  # fmt: skip
def test_vmoba_chunks_of_wan_at_480p(depth: int, frames: int, block: int, tokens: int, density: float) -> None:
    """77 frames are the published setting; the density is that of queries that choose one by one."""
    grid = VideoGrid(frames=frames, rows=30, cols=52)
    planner, here, q, k = planned("vmoba", grid)
    here = dataclasses.replace(here, call=dataclasses.replace(here.call, depth=depth))
    chunks = planner.chunks(here)
    size = (chunks.members >= 0).sum(1)
    assert (chunks.block, int(size.max()), int(size.sum())) == (block, tokens, grid.tokens)
    plan, chosen = planner.plan(q, k, here), planner.chosen(q, k, chunks)
    whole = float((chosen.double() @ size.double()).mean()) / grid.tokens
    assert whole == pytest.approx(density, abs=0.004)
    assert whole <= float(plan.density) * (1 + 1e-6) <= (1.0001 if frames == 20 else 1.07) * whole


@pytest.mark.parametrize(("block", "density"), [(128, 0.3455), (64, 0.342)])
def test_svg_reads_the_first_frame_on_top_of_its_band(block: int, density: float) -> None:
    planner, here, _, _ = planned(f"svg:block={block}")
    _, (spatial, temporal) = planner._kinds(here)
    assert float(spatial.float().mean()) == pytest.approx(density, abs=1e-3)
    assert float(temporal.float().mean()) == pytest.approx(0.305, abs=0.005)


def smooth(grid: VideoGrid, seed: int) -> Tensor:
    """Tokens that vary smoothly over space and time, and a little noise, ``[1, 1, N, 64]``."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.cartesian_prod(*(torch.linspace(0, 1, n) for n in (grid.frames, grid.rows, grid.cols)))
    wave = 6 * torch.randn(3, 64, generator=generator)
    return (2 * torch.cos(place @ wave + 6.28 * torch.rand(64, generator=generator)))[None, None] + 0.7 * torch.randn(
        1, 1, grid.tokens, 64, generator=generator
    )


@pytest.mark.slow
@pytest.mark.parametrize(("block", "ratio"), [(64, 1.4), (32, 1.2)])
def test_svg2_executes_more_than_its_clusters(block: int, ratio: float) -> None:
    planner, here, _, _ = planned(f"svg2:block={block}")
    q, k = smooth(WAN_480P, 0), smooth(WAN_480P, 0) + 0.3 * smooth(WAN_480P, 1)
    (label_q, centre_q), (label_k, centre_k) = planner._clusters(q, 256, here, "q"), planner._clusters(k, 76, here, "k")
    chosen = planner.chosen(centre_q, centre_k, label_k, 64**-0.5)
    sizes = [
        label[0, 0].bincount(minlength=n).double()
        for label, n in zip((label_q, label_k), chosen.shape[2:], strict=True)
    ]
    clusters = float(sizes[0] @ chosen[0, 0].double() @ sizes[1]) / WAN_480P.tokens**2
    orders = [planner._order(label, here) for label in (label_q, label_k)]
    executed = float(planner._plan(label_q, label_k, *orders, chosen, here).density)
    assert clusters == pytest.approx(0.1, abs=0.01) and executed / clusters == pytest.approx(ratio, abs=0.1)


def searched(planner: AdaSpaPlanner) -> tuple[list[Tensor], list[Tensor]]:
    """Recalls that AdaSpa records over a run with two searches, and the exact recalls of its plans, head by head."""
    grid, run, exact = VideoGrid(frames=6, rows=4, cols=6), RunRecord(), []
    attend = SparseRule(planner=planner, min_tokens=1, dense_steps=0, dense_layers=0).wrap(dense)
    for index in range(10):
        generator = torch.Generator().manual_seed(index)
        q, k, v = (2 + index) * torch.randn(3, 1, 3, grid.tokens, 8, generator=generator)
        attend(q, k, v, call_of(grid, run=run, step=Step(index=index, total=10)))
        _, plan, _ = next(found for (_, key), found in run.memory.found.items() if key[-1] == "plan")
        kept = plan.keep.repeat_interleave(16, -1).repeat_interleave(16, -2)
        exact.append(((q @ k.mT * 8**-0.5).softmax(-1) * kept).sum((-2, -1)) / grid.tokens)
    return run.measures["adaspa", "recall"], [exact[0], exact[6]]


def test_adaspa_records_a_recall_only_where_it_is_one() -> None:
    """The second search ranks by the log-sum-exp of the first: what it keeps of that mass is no share of a softmax."""
    recorded, exact = searched(AdaSpa(density=0.3, block=16).planner())
    assert len(recorded) == 1
    torch.testing.assert_close(recorded[0].float(), exact[0], atol=1e-5, rtol=1e-4)


def test_adaspa_holds_a_recall_that_was_asked_for_at_every_search() -> None:
    recorded, exact = searched(AdaSpa(recall=0.8, block=16).planner())
    assert len(recorded) == 2
    for told, true in zip(recorded, exact, strict=True):
        torch.testing.assert_close(told.float(), true, atol=1e-5, rtol=1e-4)
        assert (true >= 0.8 - 1e-5).all()


def test_a_window_is_a_whole_width_and_near_a_half_of_one() -> None:
    """In latent frames or tiles, of one thing in the middle of the video."""
    grid, target = VideoGrid(frames=40, rows=4, cols=4, native_frames=9), WAN
    rule: Any = catalogue.parse("freelong:near=3").parts(target).rules[0]
    assert int(rule._window(call_of(grid))[20].sum()) == 2 * 3 + 1
    rule = catalogue.parse("frame-anchors:near=3,key_frames=0,first=0").parts(target).rules[0]
    assert int(rule.planner.frames_read(grid, 0)[20].sum()) == 2 * 3 + 1
    rule = catalogue.parse("sliding-tile:tile=2x1x1,window=5x1x1").parts(target).rules[0]
    assert int(rule.planner._tiles(grid)[160].sum()) == 5
    seen: list[int] = []
    rule = catalogue.parse("freenoise:window=7,stride=3").parts(target).rules[0]
    rule.wrap(lambda q, k, v, call: seen.append(call.grid.frames) or q)(*torch.zeros(3, 1, 1, 640, 2), call_of(grid))
    assert set(seen) == {7}
    assert catalogue.parse("windows:window=7,stride=3").window == catalogue.parse("fifo:window=7").window == 7
    assert [place.end - place.begin for place in windows_over(40, 7, 3)] == [7] * len(windows_over(40, 7, 3))
    names = {name for name in catalogue.names() for p in catalogue.describe(catalogue.plugin_class(name)).parameters
             if p.name == "window"}  # fmt: skip
    assert names == {"freenoise", "sliding-tile", "fifo", "windows"}, "say here what a window is in the new one"
