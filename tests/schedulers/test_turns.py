"""The diagonal queue: which forward moves which frame, and what leaves it."""

import pytest
import torch

from genkit.schedulers.turns import DiagonalPlan, DiagonalTurns, Levels, Queue

SIZES = [(steps, window, lookahead) for steps in range(1, 14) for window in range(2, 8) for lookahead in (True, False)]


def levels(steps: int, predicts: str = "velocity") -> Levels:
    sigmas = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return Levels(sigmas=sigmas, timesteps=sigmas[:-1] * 1000, predicts=predicts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("steps", "window", "lookahead"), SIZES)
def test_every_level_is_moved_by_exactly_one_forward_of_a_window(steps: int, window: int, lookahead: bool) -> None:
    queue = Queue(steps=steps, window=window, lookahead=lookahead)
    forwards = list(queue.forwards())
    moved = [place for forward in forwards for place in range(forward.keep, forward.end)]
    assert moved == list(range(queue.context, queue.context + steps))
    for forward in forwards:
        assert forward.begin >= 0 and forward.end - forward.begin == window
        seen = forward.keep - forward.begin
        assert seen >= (window - window // 2 if lookahead else 0), "a look-ahead forward sees less than half"


@pytest.mark.parametrize(("steps", "window", "lookahead"), SIZES)
def test_a_model_that_knows_the_video_gets_it_back_whole_and_in_order(steps: int, window: int, lookahead: bool) -> None:
    """A perfect prediction of clean frames is kept to the last digit, whatever the noise; none is lost or doubled."""
    frames = window + 5
    truth = torch.arange(frames + steps, dtype=torch.float64).reshape(1, -1, 1).expand(1, -1, 3)
    generator = torch.Generator().manual_seed(1)
    draw = lambda count: torch.randn(1, count, 3, generator=generator, dtype=torch.float64)  # noqa: E731
    turns = DiagonalTurns(
        Queue(steps=steps, window=window, lookahead=lookahead), levels(steps, "clean"), frames, 1, draw
    )
    assert len(turns.timesteps) == turns.total == len(turns.sigmas) - 1 == steps + frames + steps - window
    latents = draw(window)
    while turns.turn < turns.total:
        assert latents.shape[1] == turns.latent_frames
        first = turns.turn - steps - (steps - window)  # number of the frame that leaves this turn
        context = turns.latent_frames - steps
        known = (
            truth[:, :window] if turns.turn < steps else truth[:, [max(0, first + i) for i in range(-context, steps)]]
        )
        latents = turns.step(known, latents, lambda prediction, now, step: prediction)
    assert torch.allclose(latents, truth[:, :frames])


def test_velocity_and_clean_predictions_of_the_same_frame_move_it_alike() -> None:
    z, noise, sigma = torch.randn(1, 4, 2), torch.randn(1, 4, 2), torch.tensor([0.9, 0.6, 0.3, 0.1])
    latents = (1 - sigma[:, None]) * z + sigma[:, None] * noise
    velocity, clean = levels(4), levels(4, "clean")
    assert torch.allclose(velocity.clean(latents, noise - z, sigma[:, None]), z, atol=1e-6)
    assert clean.clean(latents, z, sigma[:, None]) is z


def test_the_queue_starts_as_the_clip_with_copies_of_its_first_frame_before_it() -> None:
    assert Queue(steps=6, window=4).sources() == [0] * 2 + [0, 0, 0, 1, 2, 3]
    assert Queue(steps=2, window=4).sources() == [0, 1, 2, 3], "two context frames are the clip's own"
    assert Queue(steps=4, window=4, lookahead=False).sources() == [0, 1, 2, 3]


def test_noise_is_drawn_frame_by_frame_as_it_enters() -> None:
    drawn: list[int] = []

    def draw(count: int) -> torch.Tensor:
        drawn.append(count)
        return torch.zeros(1, count, 1, dtype=torch.float64)

    turns = DiagonalTurns(Queue(steps=5, window=4), levels(5), 7, 1, draw)
    latents = torch.ones(1, 4, 1, dtype=torch.float64)
    while turns.turn < turns.total:
        latents = turns.step(torch.zeros_like(latents), latents, lambda prediction, now, step: now)
    assert drawn == [5] + [1] * (turns.total - 5 - 1), "the last turn takes nothing in"


@pytest.mark.parametrize("steps", [3, 6])
def test_frames_that_have_left_keep_no_queue_alive(steps: int) -> None:
    draw = lambda count: torch.zeros(1, count, 2, dtype=torch.float64)  # noqa: E731
    turns = DiagonalTurns(Queue(steps=steps, window=4), levels(steps), 9, 1, draw)
    latents = draw(4)
    while turns.turn < turns.total:
        latents = turns.step(torch.zeros_like(latents), latents, lambda prediction, now, step: now)
    assert len(turns._made) == 9 and {frame.untyped_storage().nbytes() for frame in turns._made} == {2 * 8}


def test_a_video_within_one_window_is_left_alone() -> None:
    plan = DiagonalPlan(window=4, lookahead=True)
    draw = lambda count: torch.zeros(1, count, 1)  # noqa: E731
    assert plan.first_frames(4) == 4 and plan.first_frames(5) == 4 and plan.first_frames(3) == 3
    assert plan.begin(levels(5), 4, 1, draw) is None
    assert plan.begin(levels(5), 5, 1, draw) is not None
    with pytest.raises(ValueError, match="frames=4 must be more than the window of 4"):
        DiagonalTurns(Queue(steps=5, window=4), levels(5), 4, 1, draw)
