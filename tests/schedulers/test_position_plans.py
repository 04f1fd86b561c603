"""Positions in time: which frequency makes long videos repeat, where frames stand, what a plan leaves alone."""

from math import pi

import pytest
import torch
from torch import Tensor

from genkit.schedulers.positions import (
    FrequenciesByParts,
    InterpolatedPositions,
    LargerBase,
    SlowerIntrinsicFrequency,
    even_positions,
    intrinsic_frequency,
    periods,
    said,
    with_slower_frequency,
)


def rotary(theta: float, width: int) -> Tensor:
    """Inverse frequencies, by hand: theta to the power of -2 (j - 1) / width for j from 1."""
    return torch.tensor([theta ** (-2 * j / width) for j in range(width // 2)], dtype=torch.float64)


HUNYUAN, COGVIDEOX, WAN = rotary(256, 16), rotary(10000, 16), rotary(10000, 44)


@pytest.mark.parametrize(
    ("frequencies", "native", "seen", "k", "n_k"),
    [(HUNYUAN, 33, 48, 4, 50), (COGVIDEOX, 13, 20, 2, 20)],
    ids=["hunyuanvideo", "cogvideox"],
)
def test_the_paper_s_frequencies_come_out_with_and_without_its_observation(
    frequencies: Tensor, native: int, seen: int, k: int, n_k: int
) -> None:
    """RIFLEx, section 4: HunyuanVideo repeats with frequency 4 after 50 latent frames, CogVideoX with 2 after 20."""
    for repeats in (None, seen):
        found, period = intrinsic_frequency(frequencies, native, repeats)
        assert (int(found), round(float(period))) == (k, n_k)


def test_wan_s_rule_is_the_first_period_that_training_did_not_end() -> None:
    k, period = intrinsic_frequency(WAN, 21)
    assert int(k) == 4 and float(period) == pytest.approx(22.06, abs=0.01)


def test_the_order_of_frequencies_does_not_matter_and_all_faster_ones_leave_the_slowest() -> None:
    shuffled = COGVIDEOX[torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])] * torch.tensor([1, -1] * 4)
    k, period = intrinsic_frequency(shuffled, 13)
    assert int(k) == 2 and float(period) == pytest.approx(2 * pi * 10000**0.125)
    slower = with_slower_frequency(shuffled, k, 40.0)
    assert (slower != shuffled).tolist() == [place == 3 for place in range(8)]
    assert float(slower[3]) == pytest.approx(-2 * pi / 40)
    assert int(intrinsic_frequency(torch.tensor([3.0, 2.0]).double(), 100)[0]) == 2


def test_a_frequency_never_becomes_faster() -> None:
    assert torch.equal(with_slower_frequency(COGVIDEOX, torch.tensor(4), 30.0), COGVIDEOX)


def test_every_head_has_its_own_frequency() -> None:
    heads = torch.stack([COGVIDEOX, COGVIDEOX.flip(0) / 2])
    positions, changed = SlowerIntrinsicFrequency(margin=1.0).plan(40, 13, heads)
    assert torch.equal(positions, torch.arange(40, dtype=torch.float64))
    assert (changed != heads).nonzero().tolist() == [[0, 1]], "the other head's first full turn takes 40 frames or more"
    assert float(changed[0, 1]) == pytest.approx(2 * pi / 40)


@pytest.mark.parametrize("frames", [1, 19, 20, 21, 100])
@pytest.mark.parametrize("margin", [0.9, 1.0])
def test_riflex_slows_one_frequency_of_videos_beyond_its_period(frames: int, margin: float) -> None:
    before = COGVIDEOX.clone()
    positions, changed = SlowerIntrinsicFrequency(margin=margin).plan(frames, 13, COGVIDEOX)
    assert torch.equal(COGVIDEOX, before) and torch.equal(positions, even_positions(frames))
    others = torch.arange(8) != 1
    assert torch.equal(changed[others], before[others])
    if frames <= 20:
        assert torch.equal(changed, before)
    else:
        assert float(periods(changed)[1]) == pytest.approx(frames / margin)


def test_what_is_asked_of_riflex_goes_before_its_rule() -> None:
    _, changed = SlowerIntrinsicFrequency(k=3).plan(70, 13, COGVIDEOX)
    assert (changed != COGVIDEOX).tolist() == [place == 2 for place in range(8)]
    assert torch.equal(SlowerIntrinsicFrequency(k=3).plan(63, 13, COGVIDEOX)[1], COGVIDEOX), "its period is 62.8"
    assert torch.equal(SlowerIntrinsicFrequency(n_k=25).plan(25, 13, COGVIDEOX)[1], COGVIDEOX)
    assert int((SlowerIntrinsicFrequency(n_k=25).plan(26, 13, COGVIDEOX)[1] != COGVIDEOX).nonzero()) == 1
    assert int((SlowerIntrinsicFrequency(n_k=60).plan(80, 13, COGVIDEOX)[1] != COGVIDEOX).nonzero()) == 2
    with pytest.raises(ValueError, match="riflex: k=9 is more than the 8 temporal frequencies of this model"):
        SlowerIntrinsicFrequency(k=9).plan(80, 13, COGVIDEOX)


def test_interpolation_puts_the_last_frame_where_training_s_last_one_stood() -> None:
    for frames, native, last in ((33, 9, 8), (41, 21, 20), (21, 21, 20), (5, 21, 4), (7, 1, 1)):
        positions, frequencies = InterpolatedPositions().plan(frames, native, WAN)
        assert float(positions[-1]) == pytest.approx(last) and frequencies is WAN
    positions, _ = InterpolatedPositions(factor=4).plan(33, 9, WAN)
    assert torch.equal(positions[::4], torch.arange(9, dtype=torch.float64))
    for plan in (InterpolatedPositions(factor=1), InterpolatedPositions()):
        assert torch.equal(plan.plan(9, 9, WAN)[0], even_positions(9))


def test_a_larger_base_is_the_formula_for_the_base() -> None:
    """YaRN, section 3.1: theta times s ** (d / (d - 2)), whatever the order in which the frequencies are given."""
    for width, theta, factor in ((16, 10000, 4.0), (44, 10000, 2.5), (16, 256, 8.0)):
        expected = rotary(theta * factor ** (width / (width - 2)), width)
        positions, found = LargerBase(factor=factor).plan(40, 10, rotary(theta, width))
        torch.testing.assert_close(found, expected, atol=0, rtol=1e-12)
        assert torch.equal(positions, even_positions(40))
        back = LargerBase(factor=factor).plan(40, 10, rotary(theta, width).flip(0))[1]
        torch.testing.assert_close(back.flip(0), expected, atol=0, rtol=1e-12)
    assert torch.equal(LargerBase().plan(40, 10, COGVIDEOX)[1], LargerBase(factor=4).plan(40, 10, COGVIDEOX)[1])


def test_frequencies_by_parts_are_the_ramp_of_the_paper() -> None:
    """NTK-by-parts, one frequency at a time."""
    slow, fast, factor, native = 0.5, 3.0, 4.0, 21
    _, found = FrequenciesByParts(slow=slow, fast=fast).plan(84, native, WAN)
    for before, after in zip(WAN.tolist(), found.tolist(), strict=True):
        turns = native * before / (2 * pi)
        ramp = 0 if turns < slow else 1 if turns > fast else (turns - slow) / (fast - slow)
        assert after == pytest.approx((1 - ramp) * before / factor + ramp * before, rel=1e-12)
    assert found[0] == WAN[0] and found[-1] == WAN[-1] / 4, "both ends of the ramp occur"


@pytest.mark.parametrize("plan", [LargerBase(), FrequenciesByParts()], ids=lambda plan: plan.name)
def test_slower_frequencies_are_only_for_videos_beyond_the_training(plan: LargerBase | FrequenciesByParts) -> None:
    for frames in (1, 12, 13):
        assert plan.plan(frames, 13, COGVIDEOX)[1] is COGVIDEOX
    assert (plan.plan(14, 13, COGVIDEOX)[1] != COGVIDEOX).sum() >= 7


def test_the_receipt_says_what_changed() -> None:
    own = even_positions(41)
    assert said(41, COGVIDEOX, own, COGVIDEOX) is None
    assert said(41, COGVIDEOX, own / 2, COGVIDEOX) == "positions run from 0 to 20 instead of 0 to 40"
    _, changed = SlowerIntrinsicFrequency(margin=1.0).plan(41, 13, COGVIDEOX)
    assert said(41, COGVIDEOX, own, changed) == "frequency 2 has a period of 41 frames instead of 19.87"
    heads = torch.stack([COGVIDEOX, COGVIDEOX])
    assert said(41, heads, own, torch.stack([changed, COGVIDEOX])) == "1 of 16 frequencies are different"
