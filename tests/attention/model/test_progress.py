"""Progress: the noise level of a call decides how far it is, and on ordinary runs that is the number of its step."""

import math
from fractions import Fraction
from types import SimpleNamespace

import diffusers
import families
import numpy as np
import pytest
import torch

from genkit.attention.calls.call import Step
from genkit.attention.model.progress import progress_of, sigma_at, step_at, timestep_at

SHARES = [percent / 100 for percent in range(101)]
MU = {"ltx": {"mu": 1.5}}


def schedulers(steps):
    """Every family's scheduler, set for a number of steps, and whether its sigmas rise."""
    for name in families.FAMILIES:
        if name == "wan22":
            continue
        scheduler = families.FAMILIES[name]().scheduler
        if name == "mochi":
            scheduler.set_timesteps(sigmas=np.linspace(0.995, 0, steps))
        else:
            scheduler.set_timesteps(steps, **MU.get(name, {}))
        yield scheduler, name == "mochi"
    for flow in (diffusers.FlowMatchHeunDiscreteScheduler(), diffusers.EulerDiscreteScheduler()):
        flow.set_timesteps(steps)
        yield flow, False


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 50])
def test_on_ordinary_runs_it_is_the_number_of_the_step(steps):
    for scheduler, ascending in schedulers(steps):
        total = len(scheduler.timesteps)
        for index, timestep in enumerate(scheduler.timesteps):
            if hasattr(scheduler, "step_index"):
                scheduler._step_index = index
            for given in (timestep, timestep.expand(2), timestep.expand(2).bfloat16(), timestep.expand(2, 12)):
                if given.dtype == torch.bfloat16 and not hasattr(scheduler, "step_index"):
                    continue  # what is looked up by its timestep is not given in another format
                step = step_at(scheduler, ("cond", {}), given, 3, ascending=ascending)
                assert step == Step(index=index, total=total, sigma=sigma_at(scheduler, ascending, index))
                assert step.progress == index / total
                assert timestep_at(scheduler, step) == float(timestep)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 10, 25, 30, 49, 50, 100, 1000])
def test_gates_open_and_close_where_they_did_when_they_counted_steps(total):
    for index in range(total):
        step = Step(index=index, total=total)
        for share in SHARES:
            assert step.is_past(share) == (index >= math.ceil(round(share * total, 6)))  # dense_steps
            assert step.is_past(share) == (index / total >= share)  # AdaSpa's searches
            assert step.is_past(share) == (index >= Fraction(str(share)) * total)  # FreeLong's until, but for rounding


def test_a_counter_that_stands_still_or_begins_again_is_not_believed():
    scheduler = families.FAMILIES["wan"]().scheduler
    scheduler.set_timesteps(20)
    for counted in (None, 0, 3):
        scheduler._step_index = counted
        for index, timestep in enumerate(scheduler.timesteps):
            step = step_at(scheduler, None, timestep.expand(2), 3)
            assert step.progress == index / 20
            assert step.sigma == sigma_at(scheduler, False, index)


def test_frames_at_levels_of_their_own_are_as_far_as_the_noisiest():
    scheduler = families.FAMILIES["wan"]().scheduler
    scheduler.set_timesteps(10)
    scheduler._step_index = 0
    levels = torch.tensor([0.0, float(scheduler.timesteps[7]), float(scheduler.timesteps[4])])  # the first is finished
    for given in (
        levels[None].expand(2, -1),
        levels.repeat_interleave(4)[None].expand(2, -1),
        levels[None, None, :, None],
    ):
        step = step_at(scheduler, None, given, 3)
        assert step.frame_progress.tolist() == [1.0, 0.7, 0.4] and step.progress == 0.4
        assert step.sigma == sigma_at(scheduler, False, 4)
        assert step.is_past(0.4) and not step.is_past(0.5)
        assert timestep_at(scheduler, step) == levels[2]


def test_a_loop_of_more_turns_than_a_frame_has_steps_gives_the_timesteps_of_one_frame():
    frames = torch.tensor([900.0, 600.0, 300.0])
    scheduler = SimpleNamespace(
        timesteps=torch.arange(9.0), frame_timesteps=frames, step_index=5, config=SimpleNamespace()
    )
    step = step_at(scheduler, None, torch.tensor([[300.0, 900.0]]), 2)
    assert step.frame_progress.tolist() == [2 / 3, 0.0] and timestep_at(scheduler, step) == 900


def test_progress_rises_with_the_schedule_and_is_interpolated():
    schedule = torch.tensor([1000.0, 900, 500])
    found = progress_of(torch.tensor([1200.0, 1000, 950, 900, 700, 500, 250, 0, -1]), schedule)
    torch.testing.assert_close(found * 3, torch.tensor([0, 0, 0.5, 1, 1.5, 2, 2.5, 3, 3], dtype=torch.float64))
    rising = progress_of(torch.tensor([0.0, 50, 100, 550, 1000]), torch.tensor([0.0, 100]), end=1000.0)
    torch.testing.assert_close(rising * 2, torch.tensor([0, 0.5, 1, 1.5, 2], dtype=torch.float64))
