"""The blend of two attentions: the paper's filter with mirrored ends, low frequencies global, high ones local."""

from math import exp, inf, pi

import pytest
import torch

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.rules.spectral_blend import SpectralBlendRule, band, blur_matrix, low_pass
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.longer.freelong import FreeLong


def call_of(grid, step=None, **changes):
    kind = "joint" if grid.other_tokens else "temporal" if grid.fold == "space" else "self"
    return Call(layer="block", depth=0, kind=kind, grid=grid, step=step or Step(), run=RunRecord(), **changes)


def rule(**changes):
    defaults = {"radius": 2, "until": 1.0, "cutoff_time": 0.25, "cutoff_space": 0.25, "native_frames": 4}
    return SpectralBlendRule(**(defaults | changes))


def qkv(grid, dtype=torch.float64, batch=2):
    batch *= grid.rows * grid.cols if grid.fold == "space" else 1
    shape = (3, batch, 2, grid.tokens, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype).unbind(0)


def papers_filter(x, cutoff):
    """Gaussian on the FFT's frequencies, 1 being the highest, along axis 0; wraps at the ends."""
    passed = torch.exp(-0.5 * (2 * torch.fft.fftfreq(len(x), dtype=torch.float64) / cutoff) ** 2)
    return torch.fft.ifft(torch.fft.fft(x, dim=0) * passed[:, None], dim=0).real


@pytest.mark.parametrize("cutoff", [0.05, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 21, 40, 81])
def test_the_blur_is_the_papers_filter_on_the_mirrored_signal(size, cutoff):
    x = torch.randn(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    expected = papers_filter(torch.cat([x, x.flip(0)]), cutoff)[:size]
    torch.testing.assert_close(blur_matrix(size, cutoff) @ x, expected, atol=1e-12, rtol=0)


def test_away_from_the_ends_it_is_the_papers_filter():
    x = torch.randn(128, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inner = slice(8, -8)
    expected = papers_filter(x, 0.25)[inner]
    difference = (blur_matrix(128, 0.25) @ x)[inner] - expected
    assert difference.norm() / expected.norm() < 1e-4


def test_away_from_the_ends_it_is_a_blur_of_1_273_samples():
    row = blur_matrix(64, 0.25)[32]
    offset = torch.arange(64, dtype=torch.float64) - 32
    taps = torch.exp(-0.5 * (offset * pi * 0.25) ** 2)
    torch.testing.assert_close(row, taps / taps.sum(), atol=2e-4, rtol=0)
    assert float((row * offset**2).sum()) ** 0.5 == pytest.approx(1.273, abs=1e-3)


@pytest.mark.parametrize("size", range(1, 30))
def test_a_constant_stays_and_the_matrix_is_symmetric(size):
    for cutoff in (0.1, 0.25, 2.0):
        matrix = blur_matrix(size, cutoff)
        torch.testing.assert_close(matrix.sum(1), torch.ones(size, dtype=torch.float64), atol=1e-12, rtol=0)
        torch.testing.assert_close(matrix, matrix.T, atol=1e-12, rtol=0)


def test_the_last_frame_does_not_leak_into_the_first():
    impulse = torch.zeros(21, 1, dtype=torch.float64)
    impulse[-1] = 1
    assert float((blur_matrix(21, 0.25) @ impulse)[0].abs()) < 1e-7
    assert float(papers_filter(impulse, 0.25)[0]) > 0.2


def test_cutoffs_without_end_let_everything_or_only_the_mean_pass():
    torch.testing.assert_close(blur_matrix(9, inf), torch.eye(9, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(blur_matrix(9, 1e-4), torch.full((9, 9), 1 / 9, dtype=torch.float64), atol=1e-12, rtol=0)


def test_low_pass_acts_on_each_axis():
    x = torch.randn(2, 2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    time, space = blur_matrix(5, 0.5).float(), (blur_matrix(3, 0.25).float(), blur_matrix(4, 0.25).float())
    expected = torch.einsum("tf,ir,jc,bhfrcd->bhtijd", time, *space, x)
    torch.testing.assert_close(low_pass(x, 0.5, 0.25), expected)
    torch.testing.assert_close(low_pass(torch.ones_like(x), 0.5, 0.25), torch.ones_like(x))


def test_low_frequencies_come_from_all_frames_and_high_ones_from_the_window():
    """Both branches hold a slow and a fast wave; the blend takes the slow one of one and the fast one of the other."""
    grid = VideoGrid(frames=64, rows=1, cols=1)
    phase = (torch.arange(64, dtype=torch.float64) + 0.5) * pi / 64
    slow, fast = torch.cos(2 * phase), torch.cos(48 * phase)

    def attend(q, k, v, call):
        near = call.visible is not None
        wave = (3 * slow + 4 * fast) if near else (slow + 2 * fast)
        return wave.view(1, 1, 64, 1).expand(q.shape)

    out = rule().wrap(attend)(*qkv(grid), call_of(grid))[0, 0, :, 0]
    passed = [exp(-0.5 * (n / 64 / 0.25) ** 2) for n in (2, 48)]
    assert passed[0] > 0.99 and passed[1] < 0.02
    expected = (3 - 2 * passed[0]) * slow + (4 - 2 * passed[1]) * fast
    torch.testing.assert_close(out, expected, atol=1e-9, rtol=0)


LAYOUTS = [{}, {"after": 3}, {"before": 3}, {"before": 2, "after": 1}, {"fold": "space"}]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_equal_branches_give_the_branch(layout, dtype):
    grid = VideoGrid(frames=7, rows=2, cols=3, **layout)
    q, k, v = qkv(grid, dtype)
    out = rule(radius=6).wrap(lambda q, k, v, call: q)(q, k, v, call_of(grid))
    assert torch.equal(out, q)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_blend_is_local_plus_the_blurred_difference(layout):
    grid = VideoGrid(frames=7, rows=2, cols=3, **layout)
    q, k, v = qkv(grid)
    call = call_of(grid)
    out = rule(cutoff_space=0.5).wrap(dense)(q, k, v, call)
    wide = dense(q, k, v, call)
    near = dense(q, k, v, call_of(grid, visible=band(7, 2)))
    matrices = blur_matrix(7, 0.25), blur_matrix(2, 0.5), blur_matrix(3, 0.5)
    pattern = "bijhfd->bhfijd" if grid.fold == "space" else "bhfijd->bhfijd"
    shape = (2, 2, 3, 2, 7, 8) if grid.fold == "space" else (2, 2, 7, 2, 3, 8)
    video = grid.video
    shaped = torch.einsum(pattern, (wide - near)[:, :, video].reshape(shape))
    smooth = torch.einsum("tf,ir,jc,bhfrcd->bhtijd", *matrices, shaped)
    target, source = pattern.split("->")
    smooth = torch.einsum(f"{source}->{target}", smooth).reshape(wide[:, :, video].shape)
    torch.testing.assert_close(out[:, :, video], near[:, :, video] + smooth)
    torch.testing.assert_close(out[:, :, grid.index_of_others()], wide[:, :, grid.index_of_others()])


def test_a_folded_layout_equals_the_unfolded_one():
    """The same data, once with space in the batch and once as tokens (the inner attention being equal for both)."""
    folded, flat = (VideoGrid(frames=6, rows=2, cols=3, fold=fold) for fold in ("space", "none"))
    wide, near = torch.randn(2, 2, 2, 6, 2, 3, 8, generator=torch.Generator().manual_seed(0)).unbind(0)

    def of(x, grid):
        return x.permute(0, 3, 4, 1, 2, 5).flatten(0, 2) if grid.fold == "space" else x.flatten(2, 4)

    outs = []
    for grid in (flat, folded):
        q = of(wide, grid)
        blended = rule().wrap(lambda q, k, v, call: of(wide if call.visible is None else near, call.grid))
        outs.append(blended(q, q, q, call_of(grid)))
    torch.testing.assert_close(outs[1], of(outs[0].unflatten(2, (6, 2, 3)), folded))


def test_the_gate_closes_after_its_share_of_the_steps():
    grid = VideoGrid(frames=7, rows=2, cols=2)
    q, k, v = qkv(grid)
    local = dense(q, k, v, call_of(grid, visible=band(7, 2)))
    for until, blended_steps in ((0.0, 0), (0.5, 5), (0.25, 3), (1.0, 10)):
        outs = [rule(until=until).wrap(dense)(q, k, v, call_of(grid, Step(index=i, total=10))) for i in range(10)]
        assert [torch.equal(out, local) for out in outs] == [False] * blended_steps + [True] * (10 - blended_steps)


def test_native_length_is_not_touched():
    for frames in (1, 3, 4):
        grid = VideoGrid(frames=frames, rows=2, cols=2, after=3)
        q, k, v = qkv(grid, torch.float32)
        call = call_of(grid)
        assert torch.equal(rule(until=0.0).wrap(dense)(q, k, v, call), dense(q, k, v, call_of(grid)))
        assert "dense (windowed)" not in call.run.backends


def test_what_the_call_may_not_see_stays_hidden_from_both_branches():
    grid = VideoGrid(frames=7, rows=1, cols=2)
    q, k, v = qkv(grid)
    seen = []

    def attend(q, k, v, call):
        seen.append(call.visible)
        return q

    visible = torch.rand(7, 7, generator=torch.Generator().manual_seed(0)) < 0.7
    rule().wrap(attend)(q, k, v, call_of(grid, visible=visible))
    assert torch.equal(seen[0], visible & band(7, 2)) and torch.equal(seen[1], visible)


def test_the_papers_window_is_17_frames_for_16():
    assert band(40, 8)[20].sum() == 17
    parts = FreeLong().parts(Target(family="f", title="F", native_frames=16, kinds=frozenset({"temporal"})))
    assert parts.rules[0].radius == 8
    assert (parts.noise.window, parts.noise.stride) == (16, 4)
    plain = FreeLong(noise="plain").parts(Target(family="f", title="F", native_frames=16, kinds=frozenset()))
    assert plain.noise is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"until": 1.5}, r"until=1.5 is a share of the steps and must be in \[0, 1\]"),
        ({"until": float("nan")}, "until=nan is a share"),
        ({"cutoff_time": 0}, "cutoff_time=0 must be more than 0"),
        ({"cutoff_space": float("nan")}, "cutoff_space=nan must be more than 0"),
        ({"near": 0}, "near=0 must be at least 1 latent frame"),
        ({"noise": "pink"}, "noise='pink' must be 'shuffled' or 'plain'"),
    ],
)
def test_freelong_refuses(changes, sentence):
    with pytest.raises(UsageError, match=f"freelong: {sentence}"):
        FreeLong(**changes)
