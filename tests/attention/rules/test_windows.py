"""Windowed attention: every frame covered, fused with the paper's weights, text whole."""

import pytest
import torch

from genkit.attention.calls.call import Call, Step, compose
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.geometry.windows import window_starts, window_weights
from genkit.attention.rules.windows import WindowRule, cropped
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.longer.freenoise import FreeNoise


def call_of(grid, **changes):
    kind = "joint" if grid.other_tokens else "temporal" if grid.fold == "space" else "self"
    return Call(layer="block", depth=0, kind=kind, grid=grid, step=Step(), run=RunRecord(), **changes)


def qkv(grid, dtype=torch.float64, batch=2):
    batch *= grid.rows * grid.cols if grid.fold == "space" else 1
    shape = (3, batch, 2, grid.tokens, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype).unbind(0)


def windowed(window, stride, attend=dense):
    return WindowRule(window=window, stride=stride).wrap(attend)


def test_every_frame_is_in_a_window():
    for window in range(1, 18):
        for stride in range(1, window + 1):
            for frames in range(1, 70):
                starts = window_starts(frames, window, stride)
                ends = [start + min(window, frames) for start in starts]
                assert starts[0] == 0 and ends[-1] == frames
                assert all(start <= end for start, end in zip(starts[1:], ends, strict=False))
                assert all(0 < after - before <= stride for before, after in zip(starts, starts[1:], strict=False))


def test_the_papers_tail_hole_is_closed():
    assert window_starts(62, 16, 4)[-2:] == [44, 46]
    assert window_starts(64, 16, 4)[-2:] == [44, 48]


def test_weights_are_the_papers_triangle():
    assert window_weights(8).tolist() == [1, 2, 3, 4, 4, 3, 2, 1]
    assert window_weights(7).tolist() == [1, 2, 3, 4, 3, 2, 1]
    assert window_weights(1).tolist() == [1]


def test_fusion_by_hand():
    """Four frames of one token, windows of two: the two middle frames are means of two windows."""
    grid = VideoGrid(frames=4, rows=1, cols=1)
    outs = iter([10.0, 20.0, 40.0])

    def attend(q, k, v, call):
        return torch.full_like(q, next(outs))

    fused = windowed(2, 1, attend)(*qkv(grid), call_of(grid))
    assert fused[0, 0, :, 0].tolist() == [10, 15, 30, 40]


def test_fusion_weighs_by_the_distance_to_the_windows_end():
    """Five frames, windows of four (1 2 2 1) at 0 and 1: frame 1 is (2 * 1 + 1 * 4) / 3, and so on."""
    grid = VideoGrid(frames=5, rows=1, cols=2)
    outs = iter([1.0, 4.0])

    def attend(q, k, v, call):
        return torch.full_like(q, next(outs))

    fused = windowed(4, 2, attend)(*qkv(grid), call_of(grid))[0, 0, ::2, 0]
    torch.testing.assert_close(fused, torch.tensor([1, 2, 2.5, 3, 4], dtype=fused.dtype))


@pytest.mark.parametrize(
    "text", [{}, {"after": 3}, {"before": 3}, {"before": 2, "after": 1}, {"fold": "space"}], ids=str
)
def test_fusion_equals_separate_attention_in_each_window(text):
    grid, window, stride = VideoGrid(frames=7, rows=2, cols=2, **text), 3, 2
    q, k, v = qkv(grid)
    out = windowed(window, stride)(q, k, v, call_of(grid))
    frame = grid.frame_of_token()
    expected, count = torch.zeros_like(q), torch.zeros(grid.tokens, 1, dtype=q.dtype)
    for start in (0, 2, 4):
        inside = (frame >= start) & (frame < start + window)
        seen = inside | (frame < 0)
        weight = (2.0 - (frame[inside] - start - 1).abs()).to(q.dtype)[:, None]
        logits = q[:, :, inside] @ k[:, :, seen].mT / 8**0.5
        expected[:, :, inside] += weight * (logits.softmax(-1) @ v[:, :, seen])
        count[inside] += weight
    expected = expected / count.clamp_min(1)
    expected[:, :, frame < 0] = (q[:, :, frame < 0] @ k.mT / 8**0.5).softmax(-1) @ v
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (1, 2)])
def test_text_reads_every_frame_without_dense_attention_of_the_video(before, after):
    grid = VideoGrid(frames=7, rows=2, cols=2, before=before, after=after)
    q, k, v = qkv(grid)
    pairs = []

    def counting(q, k, v, call):
        pairs.append(int(call.visible.sum()) if call.visible is not None else call.grid.frames**2)
        return dense(q, k, v, call)

    out = windowed(3, 2, counting)(q, k, v, call_of(grid))
    others = grid.index_of_others()
    torch.testing.assert_close(out[:, :, others], dense(q, k, v, call_of(grid))[:, :, others])
    assert sum(pairs) == 3 * 9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_video_of_one_window_is_not_touched(dtype):
    grid = VideoGrid(frames=5, rows=2, cols=2, after=3)
    q, k, v = qkv(grid, dtype)
    for window in (5, 6):
        assert torch.equal(windowed(window, 2)(q, k, v, call_of(grid)), dense(q, k, v, call_of(grid)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_constant_values_stay_constant(dtype):
    grid = VideoGrid(frames=9, rows=2, cols=2, after=3)
    q, k, _ = qkv(grid, dtype)
    out = windowed(4, 3)(q, k, torch.ones_like(q), call_of(grid))
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.ones_like(q))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    """Windows of values that half precision holds exactly: only the fused result may be rounded."""
    grid = VideoGrid(frames=9, rows=1, cols=1)
    wide, half = (qkv(grid, dtype)[0].to(kind) for kind in (torch.float64, dtype))
    exact = windowed(5, 1, lambda q, k, v, call: q * (1 + call.grid.start))(wide, wide, wide, call_of(grid))
    scales = [torch.tensor(1.0 + start, dtype=torch.float32) for start in range(5)]
    fused = windowed(5, 1, lambda q, k, v, call: q.float() * scales[call.grid.start])(half, half, half, call_of(grid))
    assert torch.equal(fused, exact.to(dtype))


@pytest.mark.parametrize("additive", [False, True], ids=["bool", "additive"])
@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (1, 2)])
def test_masks_are_cut_to_the_window(before, after, additive):
    grid = VideoGrid(frames=7, rows=1, cols=2, before=before, after=after)
    hidden = grid.index_of_others()[-2:]
    padding = torch.ones(2, 1, 1, grid.tokens, dtype=torch.bool)
    padding[0, ..., hidden] = False
    mask = torch.zeros(padding.shape, dtype=torch.float64).masked_fill(~padding, -1e4) if additive else padding
    q, k, v = qkv(grid)
    unchanged = windowed(3, 2)(q, k, v, call_of(grid, mask=mask))
    k[0, :, hidden] = 0.5
    v[0, :, hidden] = 1e3
    assert torch.equal(windowed(3, 2)(q, k, v, call_of(grid, mask=mask)), unchanged)
    assert not torch.equal(windowed(3, 2)(q, k, v, call_of(grid)), unchanged)


def test_a_window_knows_its_tokens_mask_and_place():
    grid = VideoGrid(frames=4, rows=1, cols=2, before=2)
    mask = torch.arange(100.0).view(1, 1, 10, 10)
    visible = torch.arange(16).view(4, 4) % 3 == 0
    index, inner = cropped(call_of(grid, mask=mask, visible=visible), 1, 3)
    assert index.tolist() == [0, 1, 4, 5, 6, 7]
    assert (inner.grid.start, inner.grid.frames, inner.grid.tokens) == (1, 2, 6)
    assert torch.equal(inner.mask[0, 0], mask[0, 0][index][:, index])
    assert torch.equal(inner.visible, visible[1:3, 1:3])
    row = cropped(call_of(grid, mask=mask[:, :, :1]), 1, 3)[1].mask
    assert torch.equal(row, mask[:, :, :1, index])


def test_windows_of_time_leave_cross_and_spatial_attention_alone():
    rule = WindowRule(window=2, stride=1)
    for kind in ("cross", "spatial"):
        assert compose(dense, [rule], kind) is dense


def target(native):
    return Target(family="f", title="F", native_frames=native, kinds=frozenset({"self"}))


def test_freenoise_takes_window_and_stride_from_the_model_or_the_user():
    parts = FreeNoise().parts(target(21))
    assert (parts.rules[0].window, parts.rules[0].stride) == (21, 7) == (parts.noise.window, parts.noise.stride)
    parts = FreeNoise(window=8, stride=4).parts(target(21))
    assert (parts.rules[0].window, parts.rules[0].stride) == (8, 4) == (parts.noise.window, parts.noise.stride)


def test_freenoise_refuses_windows_that_cannot_cover():
    with pytest.raises(UsageError, match="window=1 must be at least 2 latent frames"):
        FreeNoise(window=1)
    with pytest.raises(UsageError, match="stride=0 must be at least 1 latent frame"):
        FreeNoise(stride=0)
    with pytest.raises(UsageError, match="stride=9 is more than window=5"):
        FreeNoise(stride=9).parts(target(5))
