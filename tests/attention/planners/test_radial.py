"""The Radial mask against its token-level definition, its published densities, and as a rule around calls."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.calls.call import Call, Kind, Step
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.planners.radial_mask import BlockRule, radial_plan
from genkit.attention.planning.rule import SparseRule
from genkit.attention.planning.shared import default_block
from genkit.plugins.sparse.radial import Radial


def tokens_read(grid: VideoGrid, block: int, decay: float, sink: bool) -> Tensor:
    """The rule for single tokens as the paper's code states it, frame pair by frame pair, without text."""
    s, power = grid.tokens_per_frame, 1 << grid.tokens_per_frame.bit_length()
    offset = (torch.arange(s)[:, None] - torch.arange(s)).abs()
    table = torch.zeros(grid.frames, s, grid.frames, s, dtype=torch.bool)
    for i in range(grid.frames):
        for j in range(grid.frames):
            d = abs(i - j)
            if sink and j == 0:
                table[i, :, j] = True
                continue
            length = power / 2 ** d.bit_length()
            if length < block and d % int(block / length):
                continue
            table[i, :, j] = offset <= (s if d <= 1 else max(block, decay * length))
    return table.flatten(2).flatten(0, 1)


def blocks_by_hand(grid: VideoGrid, block: int, decay: float, sink: bool, rule: BlockRule) -> Tensor:
    """Blocks from the token table by the stated decision, by loops over frame pairs."""
    s, count = grid.tokens_per_frame, -(-grid.tokens // block)
    table, on = tokens_read(grid, block, decay, sink), torch.zeros(count, count, dtype=torch.bool)
    frames = [range(f * s, (f + 1) * s) for f in range(grid.frames)]
    for r in range(count):
        for c in range(count):
            for query, key in ((x, y) for x in frames for y in frames):
                rows = [t for t in query if t // block == r]
                cols = [t for t in key if t // block == c]
                if not rows or not cols:
                    continue
                if rule == "published" and max(r - query[0] // block, c - key[0] // block) >= -(-s // block):
                    continue
                share = table[rows][:, cols].sum(0) / (block if rule == "published" else len(rows))
                some, enough = (share > 0).sum(), (share > 1 / 3).sum()
                on[r, c] |= bool(enough / (some + 1e-9) > 0.6)
    if rule == "published":
        on[grid.tokens // block :] = on[:, grid.tokens // block :] = True
    return on | torch.eye(count, dtype=torch.bool) if rule == "corrected" else on


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize(
    ("s", "frames", "block", "decay"),
    [(16, 9, 16, 1.0), (5, 7, 16, 1.0), (40, 5, 16, 0.3), (37, 6, 16, 1.0), (30, 5, 8, 0.5), (1, 20, 16, 1.0)],
)
def test_interval_arithmetic_equals_the_token_table(s: int, frames: int, block: int, decay: float, sink: bool) -> None:
    grid = VideoGrid(frames=frames, rows=1, cols=s)
    plan = radial_plan(grid, block=block, decay=decay, sink=sink)
    assert torch.equal(plan.keep[0, 0], blocks_by_hand(grid, block, decay, sink, "corrected"))


@pytest.mark.parametrize("s", [130, 200])
def test_the_published_rule_equals_the_token_table(s: int) -> None:
    grid = VideoGrid(frames=5, rows=1, cols=s)
    plan = radial_plan(grid, block=128, decay=0.2, sink=True, rule="published")
    assert torch.equal(plan.keep[0, 0], blocks_by_hand(grid, 128, 0.2, True, "published"))


@pytest.mark.parametrize(
    ("case", "s", "frames", "block", "decay", "sink", "per_cent"),
    [
        ("Wan2.1 768x1280 69f", 3840, 18, 128, 0.2, True, 28.7),
        ("Wan2.1 768x1280 69f", 3840, 18, 128, 1.0, True, 43.1),
        ("Wan2.2 768x1280 77f", 3840, 20, 64, 0.8, True, 34.9),
        ("Wan2.1 720x1280 81f", 3600, 21, 128, 0.2, True, 26.2),
        ("Wan2.1 480x832 81f", 1560, 21, 128, 0.2, True, 33.9),
        ("Wan2.1 480x832 81f", 1560, 21, 64, 1.0, True, 42.5),
        ("HunyuanVideo 768x1280 117f", 3840, 30, 128, 0.95, False, 27.5),
        ("CogVideoX 480x720 49f", 1350, 13, 64, 1.0, True, 58.7),
        ("Wan2.1 720x1280 81f", 3600, 21, 64, 1.0, True, 38.8),
        ("Wan2.1 768x1280 161f", 3840, 41, 128, 1.0, True, 26.4),
        ("HunyuanVideo 768x1280 509f", 3840, 128, 128, 1.0, False, 11.5),
        ("Mochi 480x848 163f", 1590, 28, 64, 1.0, True, 33.8),
        ("LTX 512x768 121f", 384, 16, 64, 1.0, True, 48.1),
    ],
)
def test_published_densities(
    case: str, s: int, frames: int, block: int, decay: float, sink: bool, per_cent: float
) -> None:
    """Computed before from the authors' own mask code; the video tokens only."""
    grid = VideoGrid(frames=frames, rows=1, cols=s)
    plan = radial_plan(grid, block=block, decay=decay, sink=sink, rule="published")
    assert 100 * plan.density == pytest.approx(per_cent, abs=0.5)


def test_the_published_rule_leaves_queries_without_a_key_and_the_corrected_one_does_not() -> None:
    grid = VideoGrid(frames=32, rows=34, cols=60)  # 544 x 960, 125 frames
    published = radial_plan(grid, block=128, decay=1.0, sink=True, rule="published").keep[0, 0]
    assert published.shape == (510, 510) and int((~published.any(1)).sum()) == 8
    corrected = radial_plan(grid, block=128, decay=1.0, sink=True).keep[0, 0]
    assert corrected.any(1).all() and corrected.diagonal().all()


def test_no_query_is_empty_and_the_diagonal_is_kept() -> None:
    """Any tokens per frame, frames, block, place and length of text; mostly small, some large."""
    draw = random.Random(0)
    for _ in range(150):
        s = draw.choice([draw.randint(1, 64), draw.randint(1, 300), draw.randint(1, 4096)])
        frames = draw.randint(1, min(128, max(1, 30_000 // s)))
        text, block = draw.choice([0, 0, 7, 226]), draw.choice([16, 64, 128])
        before = draw.choice([0, text, text // 3])
        if s * frames // block > 700:
            block = 128
        grid = VideoGrid(frames=frames, rows=1, cols=s, before=before, after=text - before)
        keep = radial_plan(grid, block=block, decay=draw.choice([0.0, 0.2, 1.0, 3.0]), sink=draw.random() < 0.5).keep
        assert keep[0, 0].diagonal().all(), (grid, block)
        dense = (grid.index_of_others() // block).unique()
        assert keep[0, 0, dense].all() and keep[0, 0][:, dense].all(), (grid, block)


def test_every_query_reads_the_first_frame_with_a_sink() -> None:
    grid = VideoGrid(frames=33, rows=4, cols=4)
    assert radial_plan(grid, block=16, decay=1.0).keep[0, 0, :, 0].all()
    assert not radial_plan(grid, block=16, decay=1.0, sink=False).keep[0, 0, :, 0].all()
    text = replace(grid, after=16)
    assert not radial_plan(text, block=16, decay=1.0).keep[0, 0, :, 0].all(), "no sink beside text by default"


def test_the_bands_story() -> None:
    """33 frames of 16 tokens in blocks of 16: a block is a frame, and only every 2**k-th distance is read."""
    keep = radial_plan(VideoGrid(frames=33, rows=4, cols=4), block=16, decay=1.0, sink=False).keep[0, 0]
    assert keep[0].nonzero().flatten().tolist() == [0, 1, 2, 4, 8, 16, 32]
    assert torch.equal(keep, keep.T)


@pytest.mark.parametrize("grid", [VideoGrid(frames=33, rows=4, cols=4), VideoGrid(frames=21, rows=30, cols=52)])
def test_density_grows_with_decay_and_ends_at_everything(grid: VideoGrid) -> None:
    block = 16 if grid.tokens < 1000 else 128
    plans = [radial_plan(grid, block=block, decay=x) for x in (0.0, 0.2, 0.5, 1.0, 1.4, 2.0, 3.0, 6.0, 20.0, 2.0**20)]
    for less, more in zip(plans, plans[1:], strict=False):
        assert not (less.keep & ~more.keep).any(), "a larger decay may only add blocks"
    assert plans[-1].keeps_all


@pytest.mark.parametrize("target", [0.15, 0.3, 0.5, 0.7, 0.95])
@pytest.mark.parametrize(("s", "frames", "within"), [(1560, 21, 0.02), (352, 16, 0.03), (36, 33, 0.06), (16, 33, 0.06)])
def test_a_target_density_is_met(s: int, frames: int, within: float, target: float) -> None:
    """To two points on 256 blocks, to half a group of frame pairs on 33."""
    grid = VideoGrid(frames=frames, rows=1, cols=s)
    plan = radial_plan(grid, block=default_block(grid), density=target)
    if plan.note is None:
        assert plan.density == pytest.approx(target, abs=within)
    else:
        assert plan.density > target and target < 0.3


@pytest.mark.parametrize("grid", [VideoGrid(frames=33, rows=4, cols=4), VideoGrid(frames=21, rows=30, cols=52)])
def test_a_larger_target_only_adds_blocks(grid: VideoGrid) -> None:
    targets = [0.01, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.99, 1.0]
    plans = [radial_plan(grid, block=default_block(grid), density=x) for x in targets]
    for less, more in zip(plans, plans[1:], strict=False):
        assert not (less.keep & ~more.keep).any()
    assert plans[-1].keeps_all


def test_the_least_density_keeps_neighbours_and_is_reported() -> None:
    grid, frames = VideoGrid(frames=33, rows=4, cols=4), torch.arange(33)
    plan = radial_plan(grid, block=16, density=0.01)
    assert torch.equal(plan.keep[0, 0], ((frames[:, None] - frames).abs() <= 1) | (frames == 0))
    assert plan.note is not None and "density 0.01 was requested, 0.118 is the minimum" in plan.note
    assert "33 frames of 16 tokens in blocks of 16" in plan.note


def test_blocks_follow_short_frames() -> None:
    sizes = [(16, 16), (36, 16), (144, 32), (352, 64), (1560, 128), (3600, 128), (1, 16)]
    assert [default_block(VideoGrid(frames=5, rows=1, cols=s)) for s, _ in sizes] == [block for _, block in sizes]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"density": 0.0}, r"density=0.0 must be in \(0, 1\]"),
        ({"density": 1.5}, r"density=1.5 must be in \(0, 1\]"),
        ({"decay": -1.0}, "decay=-1.0 must be 0 or more"),
        ({"decay": float("inf")}, "decay=inf must be 0 or more and finite"),
        ({}, "give either decay or density"),
        ({"density": 0.5, "decay": 1.0}, "give either decay or density"),
        ({"decay": 1.0, "block": 0}, "block=0 must be at least 1"),
        ({"decay": 1.0, "rule": "best"}, "rule='best' is unknown; known: corrected, published"),
    ],
)
def test_bad_values_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        radial_plan(VideoGrid(frames=5, rows=4, cols=4), **{"block": 16, **wrong})


def test_folded_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="this attention has space in the batch"):
        radial_plan(VideoGrid(frames=5, rows=4, cols=4, fold="space"), block=16, decay=1.0)


# The rule


def make_call(grid: VideoGrid, *, kind: Kind = "self", index: int = 5, depth: int = 3, **more: Any) -> Call:
    step = Step(index=index, total=10)
    return Call(layer="blocks.3.attn1", depth=depth, kind=kind, grid=grid, step=step, run=RunRecord(), **more)


def dense(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=call.mask, scale=call.scale)


def draw_qkv(tokens: int, batch: int = 1) -> list[Tensor]:
    return list(torch.randn(3, batch, 2, tokens, 32, generator=torch.Generator().manual_seed(0)))


GRID = VideoGrid(frames=33, rows=4, cols=4)


def masked(q: Tensor, k: Tensor, v: Tensor, plan_keep: Tensor, block: int, also: Tensor | None = None) -> Tensor:
    tokens = q.shape[2]
    seen = plan_keep.repeat_interleave(block, -1).repeat_interleave(block, -2)[..., :tokens, :tokens]
    seen = seen if also is None else seen & also
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), attn_mask=seen).float()


RULE = {"dense_steps", "dense_sigma", "dense_layers", "min_tokens", "impl"}


def rule_of(**how: Any) -> SparseRule:
    planner = Radial(**{name: value for name, value in how.items() if name not in RULE}).planner()
    return SparseRule(planner=planner, **{name: value for name, value in how.items() if name in RULE})


def test_the_rule_attends_by_the_mask_and_says_what_ran() -> None:
    q, k, v = draw_qkv(GRID.tokens)
    call = make_call(GRID)
    attend = rule_of(density=0.4).wrap(dense)
    out = attend(q, k, v, call)
    plan = radial_plan(GRID, block=16, density=0.4)
    torch.testing.assert_close(out, masked(q, k, v, plan.keep, 16), atol=2e-6, rtol=1e-5)
    assert call.run.densities == {"radial": [plan.density]} and dict(call.run.backends) == {"gather": 1}
    assert not call.run.refusals and not call.run.notes


def test_the_plan_is_made_once_a_run_and_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    from genkit.attention.planners import radial

    made: list[VideoGrid] = []

    def counted(grid: VideoGrid, **how: Any) -> Any:
        made.append(grid)
        return radial_plan(grid, **how)

    monkeypatch.setattr(radial, "radial_plan", counted)
    attend, run = rule_of().wrap(dense), RunRecord()
    for layer in range(3):
        attend(*draw_qkv(GRID.tokens), replace(make_call(GRID, depth=layer + 1), run=run))
    assert len(made) == 1
    for begin in (0, 4):
        window = replace(make_call(GRID), run=run).crop(begin, begin + 17)
        attend(*draw_qkv(window.grid.tokens), window)
    assert [grid.frames for grid in made] == [33, 17], "windows of one size share a plan"
    attend(*draw_qkv(GRID.tokens), make_call(GRID))
    assert len(made) == 3, "nothing outlives its run"


def test_density_one_is_dense_bit_for_bit() -> None:
    q, k, v = draw_qkv(GRID.tokens)
    call = make_call(GRID)
    assert torch.equal(rule_of(density=1.0).wrap(dense)(q, k, v, call), dense(q, k, v, call))
    assert call.run.densities == {"radial": [1.0]}


def test_frames_that_are_not_visible_are_not_read_and_not_counted() -> None:
    q, k, v = draw_qkv(GRID.tokens)
    frames = torch.arange(33)
    visible = (frames[:, None] - frames).abs() <= 5
    call = make_call(GRID, visible=visible)
    out = rule_of(density=0.5, block=24).wrap(dense)(q, k, v, call)
    plan = radial_plan(GRID, block=24, density=0.5)
    window = visible.repeat_interleave(16, 0).repeat_interleave(16, 1)
    torch.testing.assert_close(out, masked(q, k, v, plan.keep, 24, window), atol=2e-6, rtol=1e-5)
    tokens = plan.keep[0, 0].repeat_interleave(24, 0).repeat_interleave(24, 1)[:528, :528] & window
    assert call.run.densities["radial"] == [pytest.approx(tokens.double().mean().item())]


def test_text_padding_is_exact() -> None:
    """Two samples with 3 and 20 real words of 24: padded words change nothing, real ones are read by all."""
    grid = replace(GRID, after=24)
    q, k, v = draw_qkv(grid.tokens, batch=2)
    mask = torch.ones(2, 1, 1, grid.tokens, dtype=torch.bool)
    mask[0, ..., 528 + 3 :] = mask[1, ..., 528 + 20 :] = False
    attend = rule_of(density=0.5, first_frame=False).wrap(dense)
    call = make_call(grid, kind="joint", mask=mask)
    out = attend(q, k, v, call)
    plan = radial_plan(grid, block=16, density=0.5, sink=False)
    torch.testing.assert_close(out, masked(q, k, v, plan.keep, 16, mask), atol=2e-6, rtol=1e-5)
    k[0, :, 528 + 3 :] = v[0, :, 528 + 3 :] = 1e4
    torch.testing.assert_close(attend(q, k, v, call), out)
    k[0, :, 528] += 1
    assert (attend(q, k, v, call)[0] != out[0]).any(-1).all(), "every query reads the first word"


def test_text_without_its_padding_is_understood() -> None:
    """Some models drop padded words before attention: fewer text tokens than the grid says."""
    grid = replace(GRID, after=24)
    q, k, v = draw_qkv(528 + 7)
    call = make_call(grid, kind="joint")
    out = rule_of(density=0.5).wrap(dense)(q, k, v, call)
    plan = radial_plan(replace(grid, after=7), block=16, density=0.5)
    torch.testing.assert_close(out, masked(q, k, v, plan.keep, 16), atol=2e-6, rtol=1e-5)
    assert not call.run.refusals


@pytest.mark.parametrize(
    ("index", "depth", "warm"),
    [(0, 3, True), (2, 3, True), (3, 3, False), (9, 0, True), (9, 1, True), (9, 2, False)],
)
def test_warm_up_steps_and_layers_run_dense_as_asked(index: int, depth: int, warm: bool) -> None:
    """0.21 of 10 steps are 3, and two layers."""
    q, k, v = draw_qkv(GRID.tokens)
    call = make_call(GRID, index=index, depth=depth)
    out = rule_of(dense_steps=0.21, dense_layers=2).wrap(dense)(q, k, v, call)
    assert torch.equal(out, dense(q, k, v, call)) == warm
    assert dict(call.run.backends) == ({"dense (warm-up)": 1} if warm else {"gather": 1})
    assert not call.run.refusals


@pytest.mark.parametrize(("sigma", "warm"), [(0.9, True), (0.5, False), (0.2, False), (None, False)])
def test_noisy_steps_run_dense_whatever_their_number(sigma: float | None, warm: bool) -> None:
    call = replace(make_call(GRID), step=Step(index=1, total=4, sigma=sigma))
    rule_of(dense_steps=0.0, dense_sigma=0.5).wrap(dense)(*draw_qkv(GRID.tokens), call)
    assert ("dense (warm-up)" in call.run.backends) == warm
    told = "radial: the scheduler has no noise levels, so dense_sigma=0.5 had no effect"
    assert (told in call.run.notes) == (sigma is None)


def test_shares_that_are_whole_steps_are_not_rounded_up() -> None:
    """0.28 * 25 is a little more than 7 in floating point."""
    call = replace(make_call(GRID), step=Step(index=7, total=25))
    rule_of(dense_steps=0.28).wrap(dense)(*draw_qkv(GRID.tokens), call)
    assert "dense (warm-up)" not in call.run.backends


@pytest.mark.parametrize(
    ("change", "rule", "reason"),
    [
        ({}, {"min_tokens": 600}, "528 tokens are fewer than min_tokens=600"),
        ({"mask": torch.ones(528, 528, dtype=torch.bool)}, {}, "the model's mask [528, 528] torch.bool is not a key"),
        ({"mask": torch.zeros(1, 1, 1, 528)}, {}, "the model's mask [1, 1, 1, 528] torch.float32 is not a key"),
        ({"options": {"is_causal": True}}, {}, "the model sets is_causal"),
        ({"grid": VideoGrid(frames=32, rows=4, cols=4)}, {}, "528 queries and 528 keys are not the 512 tokens of all"),
        ({"grid": replace(GRID, after=8)}, {}, "528 queries and 528 keys are not the 536 tokens of all frames"),
    ],
)
def test_what_cannot_run_as_asked_passes_and_is_recorded(
    change: dict[str, Any], rule: dict[str, Any], reason: str
) -> None:
    q, k, v = draw_qkv(GRID.tokens)
    call = replace(make_call(GRID), **change)
    out = rule_of(**rule).wrap(dense)(q, k, v, call)
    assert torch.equal(out, dense(q, k, v, call))
    ((plugin, said), where) = next(iter(call.run.refusals.items()))
    assert plugin == "radial" and said.startswith(reason) and dict(where) == {("blocks.3.attn1", call.step.index): 1}
    assert not call.run.densities


def test_options_that_ask_for_nothing_do_not_matter() -> None:
    call = make_call(GRID, options={"dropout_p": 0.0, "is_causal": False, "backend": "flash"})
    rule_of().wrap(dense)(*draw_qkv(GRID.tokens), call)
    assert not call.run.refusals and len(call.run.densities["radial"]) == 1


def test_a_density_out_of_reach_is_noted_once() -> None:
    attend, call = rule_of(density=0.01).wrap(dense), make_call(GRID)
    for _ in range(2):
        attend(*draw_qkv(GRID.tokens), call)
    assert len(call.run.notes) == 1 and "density 0.01 was requested" in call.run.notes[0]
