"""Dense attention, and dense attention that reads only some frames."""

import pytest
import torch
import torch.nn.functional as F

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid

HEADS, WIDTH = 2, 8
GRIDS = {
    "no text": VideoGrid(frames=5, rows=2, cols=3),
    "text last": VideoGrid(frames=5, rows=2, cols=3, after=4),
    "text first": VideoGrid(frames=5, rows=2, cols=3, before=4),
    "text on both sides": VideoGrid(frames=5, rows=2, cols=3, before=3, after=4),
    "space": VideoGrid(frames=5, rows=2, cols=3, fold="space"),
}
NEAR = (torch.arange(5)[:, None] - torch.arange(5)).abs()
TABLES = {
    "band": NEAR <= 1,
    "itself": NEAR == 0,
    "all": NEAR >= 0,
    "holes": NEAR % 2 == 0,
    "one way": torch.arange(5)[:, None] >= torch.arange(5),
    "same for two": torch.tensor([[1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [0, 1, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 1]])
    == 1,
}


def call_of(grid, **changes):
    kind = "joint" if grid.other_tokens else "temporal" if grid.fold == "space" else "self"
    return Call(layer="block", depth=0, kind=kind, grid=grid, step=Step(), run=RunRecord(), **changes)


def qkv(grid, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(0)
    batch *= grid.rows * grid.cols if grid.fold == "space" else 1
    shape = (3, batch, HEADS, grid.tokens, WIDTH)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).unbind(0)


def token_table(grid, visible):
    """Which token reads which, written out: text reads and is read by all."""
    frame = grid.frame_of_token()
    table = torch.zeros(grid.tokens, grid.tokens, dtype=torch.bool)
    for row in range(grid.tokens):
        for col in range(grid.tokens):
            text = frame[row] < 0 or frame[col] < 0
            table[row, col] = text or visible[frame[row], frame[col]]
    return table


def by_hand(q, k, v, seen, bias=0.0, scale=None):
    """Softmax over the keys that are seen, in float64."""
    q, k, v = (x.double() for x in (q, k, v))
    logits = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    return logits.masked_fill(~seen, float("-inf")).softmax(-1) @ v


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", GRIDS)
def test_visible_frames_equal_a_mask_on_tokens(name, table, dtype):
    grid, visible = GRIDS[name], TABLES[table]
    q, k, v = qkv(grid, dtype)
    out = dense(q, k, v, call_of(grid, visible=visible))
    assert out.dtype == dtype
    seen = token_table(grid, visible)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, attn_mask=seen))
    torch.testing.assert_close(out.double(), by_hand(q, k, v, seen), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("additive", [False, True], ids=["bool", "additive"])
@pytest.mark.parametrize("name", GRIDS)
def test_the_models_own_mask_still_holds(name, additive):
    grid, visible = GRIDS[name], TABLES["band"]
    q, k, v = qkv(grid)
    padding = torch.ones(q.shape[0], 1, 1, grid.tokens, dtype=torch.bool)
    padding[0, ..., -2:] = False
    padding[1, ..., :1] = False
    mask = torch.zeros(padding.shape, dtype=q.dtype).masked_fill(~padding, -1e4) if additive else padding
    out = dense(q, k, v, call_of(grid, visible=visible, mask=mask))
    expected = by_hand(q, k, v, token_table(grid, visible) & padding)
    some = (token_table(grid, visible) & padding).any(-1, keepdim=True)
    torch.testing.assert_close(out * some, expected.nan_to_num() * some)


def test_a_mask_with_query_rows_is_cut_with_the_queries():
    grid, visible = GRIDS["text last"], TABLES["holes"]
    q, k, v = qkv(grid)
    bias = torch.randn(1, HEADS, grid.tokens, grid.tokens, dtype=q.dtype, generator=torch.Generator().manual_seed(1))
    out = dense(q, k, v, call_of(grid, visible=visible, mask=bias))
    torch.testing.assert_close(out, by_hand(q, k, v, token_table(grid, visible), bias))


@pytest.mark.parametrize("name", GRIDS)
def test_a_far_frame_cannot_be_seen(name):
    grid = GRIDS[name]
    q, k, v = qkv(grid)
    call = call_of(grid, visible=TABLES["band"])
    frames = grid.frame_of_token()
    before = dense(q, k, v, call)[:, :, (frames >= 0) & (frames <= 2)]
    k[:, :, frames == 4] = 1e6
    v[:, :, frames == 4] = 1e6
    after = dense(q, k, v, call)
    assert torch.equal(after[:, :, (frames >= 0) & (frames <= 2)], before)
    assert after[:, :, frames == 3].abs().max() > 1e3


def test_a_frame_that_reads_nothing_gives_zero():
    grid, visible = GRIDS["no text"], TABLES["band"].clone()
    visible[2] = False
    out = dense(*qkv(grid), call_of(grid, visible=visible))
    assert torch.equal(out[:, :, grid.frame_of_token() == 2], torch.zeros(2, HEADS, 6, WIDTH, dtype=out.dtype))
    assert out.isfinite().all()


def test_the_models_scale_is_kept():
    grid, visible = GRIDS["text first"], TABLES["band"]
    q, k, v = qkv(grid)
    out = dense(q, k, v, call_of(grid, visible=visible, scale=0.7))
    torch.testing.assert_close(out, by_hand(q, k, v, token_table(grid, visible), scale=0.7))


def test_the_models_options_are_kept():
    grid = GRIDS["no text"]
    q, k, v = qkv(grid)
    few = k[:, :1], v[:, :1]
    for visible in (None, TABLES["band"]):
        seen = token_table(grid, TABLES["all"] if visible is None else visible)
        out = dense(q, *few, call_of(grid, visible=visible, options={"enable_gqa": True}))
        torch.testing.assert_close(out, by_hand(q, *few, seen))


def test_without_visible_it_is_the_plain_call():
    grid = GRIDS["text last"]
    q, k, v = qkv(grid, torch.float32)
    call = call_of(grid)
    assert torch.equal(dense(q, k, v, call), F.scaled_dot_product_attention(q, k, v))
    assert call.run.backends == {"dense": 1}


def test_the_users_backend_runs_the_plain_call():
    grid = GRIDS["text last"]
    q, k, v = qkv(grid, torch.float32)
    call = call_of(grid, scale=0.5, options={"backend": "_native_math"})
    torch.testing.assert_close(dense(q, k, v, call), F.scaled_dot_product_attention(q, k, v, scale=0.5))
    assert call.run.backends == {"dense (_native_math)": 1}


def test_frames_cannot_be_hidden_where_only_one_is_seen():
    grid = VideoGrid(frames=5, rows=2, cols=3, fold="time")
    with pytest.raises(ValueError, match="block reads one frame at a time.*leave visible at None"):
        dense(*qkv(grid), call_of(grid, visible=TABLES["band"]))
