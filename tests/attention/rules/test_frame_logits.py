"""Changes of the logits between frames: the formulas of UltraViCo and VSTAR on small attention, written out."""

from dataclasses import replace
from math import exp, inf
from typing import Any

import pytest
import torch
from torch import Tensor

from genkit.attention.calls.call import Call, Step
from genkit.attention.calls.dense import dense
from genkit.attention.calls.frame_logits import FrameLogits
from genkit.attention.calls.run import RunRecord
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.rules.decay import DecayRule, decay
from genkit.attention.rules.temporal_regularization import TemporalRegularizationRule, toeplitz
from genkit.attention.rules.windows import WindowRule
from genkit.errors import UsageError
from genkit.plugins.contract import Target
from genkit.plugins.longer.temporal_regularization import TemporalAttentionRegularization
from genkit.plugins.longer.ultravico import UltraViCo

GRIDS = {
    "self": VideoGrid(frames=7, rows=2, cols=3, native_frames=3),
    "joint": VideoGrid(frames=7, rows=2, cols=2, before=3, after=2, native_frames=3),
    "temporal": VideoGrid(frames=7, rows=2, cols=2, fold="space", native_frames=3),
}


def call_of(kind: Any, **changes: Any) -> Call:
    return Call(layer="block", depth=0, kind=kind, grid=GRIDS[kind], step=Step(), run=RunRecord(), **changes)


def qkv(grid: VideoGrid, seed: int = 0) -> tuple[Tensor, ...]:
    batch = 2 * (grid.rows * grid.cols if grid.fold == "space" else 1)
    shape = (3, batch, 2, grid.tokens, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind(0)


def decaying(**changes: Any) -> DecayRule:
    fields = {"alpha": 0.9, "beta": 0.6, "period": None, "around": 1, "centred": False, "first_frame": False}
    return DecayRule(**({"native_frames": 3} | fields | changes))


def of_tokens(grid: VideoGrid, numbers: Tensor, value: float) -> Tensor:
    """Numbers of pairs of frames as numbers of pairs of tokens, ``value`` where one of them is not video."""
    frames = grid.frame_of_token()
    pairs = numbers[frames][:, frames]
    outside = (frames < 0)[:, None] | (frames < 0)
    return pairs.masked_fill(outside, value)


def test_far_frames_decay_and_those_a_period_away_decay_more() -> None:
    gain = decay(12, native=4, alpha=0.9, beta=0.6, period=5.0, around=1.0)
    assert gain[0].tolist() == [1, 1, 1, 0.9, 0.6, 0.6, 0.6, 0.9, 0.9, 0.6, 0.6, 0.6]
    assert torch.equal(gain, gain.T)
    assert decay(12, 4, 0.9, 0.6, None, 1.0).unique().tolist() == [0.9, 1]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", list(GRIDS))
def test_decay_is_the_formula(kind: str, centred: bool) -> None:
    grid, rule = GRIDS[kind], decaying(centred=centred, first_frame=True, period=4.0)
    q, k, v = qkv(grid)
    gain = of_tokens(grid, decay(7, 3, 0.9, 0.6, 4.0, 1), 1.0)
    hidden = torch.zeros(7, 7)
    hidden[0, 3:] = 1
    keys = k - k[:, :, grid.video].mean(2, keepdim=True) if centred else k
    logits = q @ keys.mT * 8**-0.5
    logits = torch.where(logits > 0, gain * logits, logits).masked_fill(of_tokens(grid, hidden, 0) == 1, -inf)
    torch.testing.assert_close(rule.wrap(dense)(q, k, v, call_of(kind)), logits.softmax(-1) @ v, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", list(GRIDS))
def test_regularization_is_the_formula(kind: str) -> None:
    grid = GRIDS[kind]
    q, k, v = qkv(grid, seed=1)
    rule = TemporalRegularizationRule(sigma=1.5, strength=0.7, until=1.0, levels=1)
    logits = q @ k.mT * 8**-0.5
    assert toeplitz(7, 1.5)[2, 4] == pytest.approx(exp(-4 / 4.5)) and toeplitz(7, 1.5).diagonal().eq(1).all()
    logits = logits + 0.7 * logits.amax(-1, keepdim=True) * of_tokens(grid, toeplitz(7, 1.5), 0)
    torch.testing.assert_close(rule.wrap(dense)(q, k, v, call_of(kind)), logits.softmax(-1) @ v, atol=1e-12, rtol=0)


def test_within_the_training_length_nothing_changes_bit_for_bit() -> None:
    q, k, v = qkv(GRIDS["self"])
    call = call_of("self")
    found = decaying(native_frames=7).wrap(dense)(q, k, v, call)
    assert torch.equal(found, dense(q, k, v, call_of("self")))
    assert "ultravico: 7 latent frames are no more than the 7 of the training, so it changes nothing" in call.run.notes


def test_regularization_ends_and_stays_in_its_layers() -> None:
    q, k, v = qkv(GRIDS["temporal"])
    wrapped = TemporalRegularizationRule(sigma=1.0, strength=1.0, until=0.5, levels=1).wrap(dense)
    call = call_of("temporal")
    plain, changed = dense(q, k, v, call), wrapped(q, k, v, call)
    assert not torch.equal(changed, plain)
    assert torch.equal(wrapped(q, k, v, replace(call, step=Step(index=5, total=10))), plain)
    assert torch.equal(wrapped(q, k, v, replace(call, layer="transformer_in.transformer_blocks.0.attn1")), plain)
    coarse = replace(call, grid=replace(call.grid, rows=1, cols=4))
    assert torch.equal(wrapped(q, k, v, coarse), plain), "only the finest of the levels"


def test_frames_that_another_rule_hides_stay_hidden() -> None:
    q, k, v = qkv(GRIDS["joint"])
    grid, visible = GRIDS["joint"], (torch.arange(7)[:, None] - torch.arange(7)).abs() <= 2
    logits = q @ k.mT * 8**-0.5
    gain = of_tokens(grid, decay(7, 3, 0.9, 0.6, None, 1), 1.0)
    logits = torch.where(logits > 0, gain * logits, logits)
    exact = logits.masked_fill(of_tokens(grid, (~visible).double(), 0) == 1, -inf).softmax(-1) @ v
    found = decaying().wrap(dense)(q, k, v, call_of("joint", visible=visible))
    torch.testing.assert_close(found, exact, atol=1e-12, rtol=0)


def test_windows_around_it_see_the_numbers_of_their_frames() -> None:
    q, k, v = qkv(GRIDS["self"])
    numbers = FrameLogits(bias=torch.rand(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    call = call_of("self", logits=numbers)
    inner = WindowRule(window=4, stride=3).wrap(dense)(q, k, v, call)
    rows = slice(0, 3 * 6)  # the first frames are in the first window alone
    window = dense(*(x[:, :, : 4 * 6] for x in (q, k, v)), call.crop(0, 4))
    torch.testing.assert_close(inner[:, :, rows], window[:, :, rows], atol=1e-12, rtol=0)


def test_padding_of_the_model_is_not_read() -> None:
    q, k, v = qkv(GRIDS["joint"])
    valid = torch.arange(33) < torch.tensor([[33], [31]])
    found = decaying().wrap(dense)(q, k, v, call_of("joint", mask=valid[:, None, None]))
    short = replace(GRIDS["joint"], after=0)
    alone = decaying().wrap(dense)(*(x[1:, :, :31] for x in (q, k, v)), replace(call_of("joint"), grid=short))
    torch.testing.assert_close(found[1:, :, :31], alone, atol=1e-12, rtol=0)


def test_what_a_table_cannot_express_is_refused() -> None:
    q, k, v = qkv(GRIDS["self"])
    attend = decaying().wrap(dense)
    with pytest.raises(ValueError, match=r"block has a mask \[42, 42\] torch.bool that is not padding, so its logits"):
        attend(q, k, v, call_of("self", mask=torch.ones(42, 42, dtype=torch.bool).tril()))
    with pytest.raises(ValueError, match="block sets is_causal, so its logits cannot change by frame; leave out"):
        attend(q, k, v, call_of("self", options={"is_causal": True}))
    with pytest.raises(ValueError, match="block has 41 queries where all frames have 42 tokens"):
        attend(q[:, :, 1:], k, v, call_of("self"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: UltraViCo(alpha=1.5), r"ultravico: alpha=1.5 is a factor and must be in \[0, 1\]"),
        (lambda: UltraViCo(beta=-0.1), r"ultravico: beta=-0.1 is a factor"),
        (lambda: UltraViCo(period=0), "ultravico: period=0 must be more than 0 latent frames; leave it out for none"),
        (lambda: UltraViCo(around=-1), "ultravico: around=-1 must be at least 0"),
        (lambda: TemporalAttentionRegularization(sigma=0), "temporal-regularization: sigma=0 must be more than 0"),
        (lambda: TemporalAttentionRegularization(strength=-1), "strength=-1 must be at least 0"),
        (lambda: TemporalAttentionRegularization(until=2), r"until=2 is a share of the steps, in \[0, 1\]"),
        (lambda: TemporalAttentionRegularization(levels=0), "levels=0 must be at least 1"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make()


def test_a_training_length_that_is_not_known_is_said() -> None:
    target = Target(family="x", title="This model", native_frames=None, kinds=frozenset({"self"}))
    with pytest.raises(UsageError, match="ultravico depends on the length of the clips that This model was trained on"):
        UltraViCo().parts(target)
