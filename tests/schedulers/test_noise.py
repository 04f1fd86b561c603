"""Shuffled noise: the first window repeated, so that every window holds every base noise once."""

import pytest
import torch

from genkit.attention.geometry.windows import window_starts
from genkit.schedulers.noise import ShuffledNoise, largest_stride, shuffled_order


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("frames", [16, 17, 20, 62, 64, 129])
@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 16), (21, 7), (5, 1), (5, 2), (13, 4), (9, 5), (7, 7)])
def test_each_window_holds_each_base_noise_once(frames, window, stride):
    order = shuffled_order(frames, window, stride, generator())
    for start in range(0, frames - window + 1, stride):
        assert sorted(order[start : start + window].tolist()) == list(range(window))
    assert order[:window].tolist() == list(range(min(window, frames)))
    tail = order[-(frames % stride or stride) :]
    assert len(set(tail.tolist())) == len(tail)


@pytest.mark.parametrize(("window", "stride"), [(9, 3), (16, 4), (21, 7), (5, 2), (13, 4), (16, 5), (4, 4), (3, 1)])
def test_no_window_that_is_fused_holds_a_noise_twice(window, stride):
    """At every length, the window that was added to end with the video included."""
    for frames in range(window + 1, 4 * window + 3):
        for seed in range(40):
            order = shuffled_order(frames, window, stride, generator(seed)).tolist()
            for start in window_starts(frames, window, stride):
                assert sorted(order[start : start + window]) == list(range(window)), (frames, seed, start)


def test_groups_come_from_one_window_back_and_are_shuffled():
    order = shuffled_order(64, 16, 4, generator())
    for begin in range(16, 64, 4):
        assert sorted(order[begin : begin + 4].tolist()) == sorted(order[begin - 16 : begin - 12].tolist())
    groups = {tuple(order[begin : begin + 4].tolist()) for begin in range(0, 64, 16)}
    assert len(groups) > 1


def test_the_generator_decides_and_the_global_one_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (shuffled_order(64, 16, 4, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same) and not torch.equal(one, other)
    drawn = shuffled_order(64, 16, 4, None)
    assert not torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(shuffled_order(64, 16, 4, None), drawn)


def test_a_generator_of_another_device_gives_its_seed_only():
    class Elsewhere:
        device = torch.device("cuda")

        @staticmethod
        def initial_seed():
            return 7

    assert torch.equal(shuffled_order(64, 16, 4, Elsewhere()), shuffled_order(64, 16, 4, generator(7)))


@pytest.mark.parametrize("axis", [1, 2, -3])
def test_latents_are_reordered_along_the_frame_axis(axis):
    latents = torch.randn(2, 12, 12, 12, 3, generator=generator())
    out = ShuffledNoise(window=6, stride=2).plan(latents, axis, generator(3))
    order = shuffled_order(12, 6, 2, generator(3))
    assert out.shape == latents.shape
    for frame, source in enumerate(order.tolist()):
        assert torch.equal(out.select(axis, frame), latents.select(axis, source))
    assert torch.equal(out.narrow(axis, 0, 6), latents.narrow(axis, 0, 6))
    assert not torch.equal(out, latents)


def test_one_window_is_left_alone_and_draws_nothing():
    latents, caller = torch.randn(1, 4, 6, 2, 2), generator()
    before = caller.get_state()
    assert ShuffledNoise(window=6, stride=2).plan(latents, 2, caller) is latents
    assert torch.equal(caller.get_state(), before)


@pytest.mark.parametrize("stride", [0, 7])
def test_a_stride_that_leaves_the_window_is_refused(stride):
    with pytest.raises(ValueError, match=f"stride={stride} must be between 1 and the window of 6"):
        shuffled_order(12, 6, stride, None)


def test_strides_of_the_families():
    strides = {16: 4, 9: 3, 21: 7, 33: 11, 28: 7, 5: 2, 13: 4, 2: 1, 1: 1}
    assert {window: largest_stride(window) for window in strides} == strides
    for window in range(5, 130):
        assert 2 <= largest_stride(window) <= window / 2
