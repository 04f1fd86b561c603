"""Turns in a stock pipeline: what users see of them, what a run leaves behind, and what is refused."""

import copy
import pickle
from typing import Any

import diffusers
import families
import numpy as np
import pytest
import torch
from torch import Tensor
from tree import TOP

import genkit
from genkit.errors import GenkitError, UsageError
from genkit.generation.events import Progress
from genkit.plugins.contract import Parts
from genkit.tiny import TINY_WEIGHTS

SMALL = {"height": 48, "width": 64, "num_inference_steps": 4, "max_sequence_length": 16, "guidance_scale": 5.0}
LONG = SMALL | {"num_frames": 4 * 7 + 1, "seed": 3}
"""Eight latent frames: with a window of 4 and 4 steps, 4 turns for the clip and 8 more."""
TURNS = 4 + 8
FIFO = genkit.FIFO(window=4)
PROMPT = "a red circle"
needs_weights = pytest.mark.skipif(not TINY_WEIGHTS.exists(), reason="the embedded model's weights are not there")


@pytest.fixture(scope="module")
def wan() -> Any:
    return families.FAMILIES["wan"]()


def state(pipe: Any) -> Any:
    """Everything of a pipeline that a plan of turns might change."""
    scheduler = pipe.scheduler
    kept = {name: value for name, value in vars(scheduler).items() if not isinstance(value, Tensor)}
    numbers = {name: value.tolist() for name, value in vars(scheduler).items() if isinstance(value, Tensor)}
    hooks = {name for name, _ in pipe.transformer.named_modules() if "forward" in _.__dict__}
    return id(scheduler), dict(scheduler.config), kept, numbers, dict(pipe.config), set(vars(pipe)), hooks


def test_the_frames_asked_are_the_frames_made_and_a_step_is_a_turn(wan: Any) -> None:
    events: list[Progress] = []
    with genkit.apply(wan, FIFO) as handle:
        video = handle.generate(PROMPT, on_event=events.append, **LONG)
        again = handle.generate(PROMPT, **LONG)
        other = handle.generate(PROMPT, **LONG | {"seed": 4})
    assert len(video.frames) == video.receipt.frames == video.receipt.frames_asked == 29
    assert [event.step for event in events if event.stage == "denoise"] == list(range(1, TURNS + 1))
    assert {event.total for event in events if event.stage == "denoise"} == {TURNS}
    assert [note for note in video.receipt.notes if "12 turns of the sampling loop make 8 latent frames" in note]
    assert not [note for note in video.receipt.notes if "asked for" in note]
    assert np.array_equal(video.frames, again.frames), "the noise that enters is not the seed's"
    assert not np.array_equal(video.frames, other.frames)


def test_a_longer_video_begins_with_the_shorter_one(wan: Any) -> None:
    """Frames are given away one by one and never touched again, so length changes none of those before."""
    with genkit.apply(wan, FIFO):
        short, long = (wan(**families.call_arguments("wan", num_frames=4 * (n - 1) + 1)).frames for n in (7, 11))
    assert short.shape[2] == 7 and long.shape[2] == 11
    assert torch.equal(short, long[:, :, :7])


@pytest.mark.parametrize("frames", [13, 5])
def test_a_video_of_one_window_is_made_bit_for_bit_as_without(wan: Any, frames: int) -> None:
    plain = genkit.generate(wan, PROMPT, **LONG | {"num_frames": frames})
    with genkit.apply(wan, FIFO) as handle:
        video = handle.generate(PROMPT, **LONG | {"num_frames": frames})
    assert np.array_equal(video.frames, plain.frames)
    assert [note for note in video.receipt.notes if "fit into one window" in note]


class Cancelled(Exception):
    """What a user raises to stop a run."""


def test_nothing_of_the_scheduler_or_the_pipeline_is_changed_whatever_became_of_the_run(wan: Any) -> None:
    before, config = state(wan), dict(wan.config)
    plain = genkit.generate(wan, PROMPT, **LONG | {"num_frames": 17})
    wan.scheduler = families.FAMILIES["wan"]().scheduler  # as new, and not as the last run left it
    before = state(wan)

    def cancel(event: Progress) -> None:
        if event.step == 7:
            raise Cancelled

    def fail(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("in a callback")

    with genkit.apply(wan, FIFO) as handle:
        assert dict(wan.config) == config and type(wan.scheduler) is diffusers.UniPCMultistepScheduler
        assert isinstance(copy.deepcopy(wan.scheduler), diffusers.UniPCMultistepScheduler)
        with pytest.raises(Cancelled):
            handle.generate(PROMPT, on_event=cancel, **LONG)
        with pytest.raises(RuntimeError, match="in a callback"):
            handle.generate(PROMPT, callback_on_step_end=fail, **LONG)
        turns = handle.context.turns
        assert turns is not None and turns.turns is None, "frames of a run that is over are kept"
        handle.generate(PROMPT, **LONG)
        assert dict(wan.config) == config
    assert state(wan) == before
    assert np.array_equal(genkit.generate(wan, PROMPT, **LONG | {"num_frames": 17}).frames, plain.frames)


def test_another_pipeline_with_the_same_scheduler_and_models_computes_as_always(wan: Any) -> None:
    other = diffusers.WanPipeline(**wan.components)
    other.set_progress_bar_config(disable=True)
    asked = families.call_arguments("wan", num_frames=29)
    plain = other(**asked).frames
    with genkit.apply(wan, FIFO):
        beside = other(**families.call_arguments("wan", num_frames=29)).frames
        shared = diffusers.WanPipeline(**wan.components)  # made meanwhile, so it holds the stand-in
        shared.set_progress_bar_config(disable=True)
        within = shared(**families.call_arguments("wan", num_frames=29)).frames
        made = wan(**families.call_arguments("wan", num_frames=29)).frames
    assert torch.equal(beside, plain) and torch.equal(within, plain)
    assert made.shape == plain.shape and not torch.equal(made, plain)


def test_copies_and_pickles_of_the_scheduler_are_schedulers(wan: Any) -> None:
    with genkit.apply(wan, FIFO) as handle:
        handle.generate(PROMPT, **LONG)
        copies = [copy.deepcopy(wan.scheduler), pickle.loads(pickle.dumps(wan.scheduler))]  # noqa: S301
    for one in copies:
        one.set_timesteps(5)
        assert len(one.timesteps) == 5 and "step" not in vars(one)


def test_a_pipeline_that_copies_its_scheduler_in_a_run_is_refused(wan: Any) -> None:
    def copying(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        copy.deepcopy(pipe.scheduler)
        return {}

    with genkit.apply(wan, FIFO) as handle, pytest.raises(GenkitError, match="copies its scheduler while it makes"):
        handle.generate(PROMPT, callback_on_step_end=copying, **LONG)


def test_the_callback_sees_the_queue_and_may_change_it(wan: Any) -> None:
    seen: list[tuple[int, ...]] = []

    def change(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        seen.append(tuple(given["latents"].shape))
        return {"latents": given["latents"] * 0.5} if index == 5 else {}

    with genkit.apply(wan, FIFO) as handle:
        plain = handle.generate(PROMPT, **LONG)
        changed = handle.generate(PROMPT, callback_on_step_end=change, **LONG)
    assert [shape[2] for shape in seen] == [4] * 3 + [6] * 8 + [8], "clip, queue of 2 clean and 4 noisy frames, video"
    assert not np.array_equal(plain.frames, changed.frames)


@pytest.mark.parametrize("frames", [29, 61])
def test_the_model_and_the_loop_never_hold_more_than_the_queue(wan: Any, frames: int) -> None:
    widths: set[int] = set()
    hook = wan.transformer.patch_embedding.register_forward_pre_hook(
        lambda module, given: widths.add(given[0].shape[2])
    )
    shapes: set[int] = set()

    def look(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        shapes.add(given["latents"].shape[2])
        return {}

    try:
        with genkit.apply(wan, FIFO) as handle:
            handle.generate(PROMPT, callback_on_step_end=look, **LONG | {"num_frames": frames})
    finally:
        hook.remove()
    assert widths == {4} and shapes == {4, 6, (frames - 1) // 4 + 1}


def test_the_progress_bar_counts_turns(wan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, total: int) -> None:
            self.total, self.count = total, 0
            bars.append(self)

        def update(self, count: int = 1) -> None:
            self.count += count

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *error: Any) -> None:
            assert self.count == self.total

    monkeypatch.setitem(vars(wan), "progress_bar", lambda iterable=None, total=None: Bar(total))
    with genkit.apply(wan, FIFO) as handle:
        handle.generate(PROMPT, **LONG)
        handle.generate(PROMPT, **LONG | {"num_frames": 13})
    assert [bar.total for bar in bars] == [TURNS, 4]


def test_each_video_of_a_batch_is_the_one_that_its_generator_makes_alone(wan: Any) -> None:
    def made(seeds: list[int]) -> Tensor:
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        asked = families.call_arguments("wan", num_frames=29, num_videos_per_prompt=len(seeds), generator=draws)
        found: Tensor = wan(**asked).frames
        return found

    with genkit.apply(wan, FIFO):
        both, alone = made([5, 6]), made([6])
    assert torch.allclose(both[1:], alone, atol=1e-4)


def test_sparse_calls_are_counted_and_the_noisy_end_of_the_queue_is_dense(wan: Any) -> None:
    sparse = genkit.Threshold(min_tokens=1, block=8, dense_layers=0, dense_steps=0.5, impl="reference")
    with genkit.apply(wan, FIFO, sparse) as handle:
        attention = handle.generate(PROMPT, **LONG).receipt.attention
    # 3 layers, 2 branches; the clip's last 2 of 4 steps, and in 8 turns one of 2 forwards: the noisier one is dense
    assert attention.densities["threshold"].calls == 3 * 2 * (2 + 8)
    assert attention.backends["dense (warm-up)"] == 3 * 2 * (2 + 8)


def test_a_plan_of_turns_and_a_plan_of_decoding_do_not_know_of_each_other(wan: Any) -> None:
    with genkit.apply(wan, FIFO) as handle:
        at_once = handle.generate(PROMPT, **LONG)
    with genkit.apply(wan, FIFO, genkit.StreamDecode()) as handle:
        streamed = handle.generate(PROMPT, **LONG)
    assert np.array_equal(at_once.frames, streamed.frames)


def test_what_a_call_found_is_forgotten_as_frames_move_on(wan: Any) -> None:
    """A plan is of the frames that it was found for, and in the next turn others are there."""
    sparse = genkit.AdaSpa(density=0.5, min_tokens=1, block=8, dense_layers=0, dense_steps=0, impl="reference")
    kept: list[int] = []
    starts: set[Any] = set()

    def look(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        found = handle.session.run.memory.found
        kept.append(len(found))
        starts.update(place.window for place, _ in found if place.window is not None)
        return {}

    with genkit.apply(wan, FIFO, sparse) as handle:
        handle.generate(PROMPT, callback_on_step_end=look, **LONG)
    assert kept[3:] == [0] * 9 and max(kept[:3]) > 0, "a plan of the last turn is there in the next one"


def test_without_lookahead_each_frame_is_seen_by_one_forward(wan: Any) -> None:
    with genkit.apply(wan, genkit.FIFO(window=4, lookahead=False)) as handle:
        calls = handle.generate(PROMPT, **LONG).receipt.attention.calls
    assert calls == 2 * 3 * 2 * (4 + 8), "self- and cross-attention of 3 layers, 2 branches, one forward a turn"


# --- what is refused ---


@pytest.mark.parametrize("name", sorted({*families.FAMILIES, *families.VARIANTS} - {"wan", "wan22_5b", "ltx"}))
def test_models_with_one_timestep_for_all_frames_are_refused(name: str) -> None:
    pipe = (families.FAMILIES | families.VARIANTS)[name]()
    before = pipe.scheduler
    with pytest.raises(UsageError, match=r"fifo needs frames with different noise levels in one forward"):
        genkit.apply(pipe, FIFO)
    assert pipe.scheduler is before and "_genkit_handle" not in vars(pipe)


@pytest.mark.parametrize("other", [genkit.FreeNoise(), genkit.FreeLong(), genkit.TaylorSeer(), genkit.Timeline()])
def test_it_is_not_combined_with_what_needs_the_same_frames_in_every_step(wan: Any, other: Any) -> None:
    with pytest.raises(UsageError, match=f"cannot be combined|{other.name}"):
        genkit.apply(wan, FIFO, other)


class Rounds:
    """A plan of turns as FreeInit's rounds would be one."""

    name, title, paper, seams = "rounds", "Rounds", "arXiv 2312.07537", ("turns",)
    claims = frozenset({"turns"})


def test_one_pipeline_has_one_plan_of_turns(wan: Any) -> None:
    with pytest.raises(UsageError, match="fifo and rounds cannot be combined: both claim turns"):
        genkit.apply(wan, FIFO, Rounds())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (diffusers.FlowMatchHeunDiscreteScheduler(), "calls the model 2 times for a step"),
        (diffusers.DDIMScheduler(), r"DDIMScheduler \(prediction_type='epsilon'\) has others"),
        (diffusers.UniPCMultistepScheduler(), "noise levels of flow matching"),
    ],
)
def test_solvers_without_levels_of_flow_matching_are_refused(scheduler: Any, message: str) -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.scheduler = scheduler
    with pytest.raises(UsageError, match=message):
        genkit.apply(pipe, FIFO)
    assert pipe.scheduler is scheduler and "prepare_latents" not in vars(pipe)


def test_other_flow_matching_solvers_work() -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    with genkit.apply(pipe, FIFO) as handle:
        assert len(handle.generate(PROMPT, **LONG).frames) == 29


def test_latents_of_the_whole_video_are_refused(wan: Any) -> None:
    with genkit.apply(wan, FIFO) as handle, pytest.raises(UsageError, match="leave latents out"):
        handle.generate(PROMPT, latents=torch.zeros(1, 4, 8, 6, 8), **LONG)


def test_a_scheduler_that_was_replaced_is_not_passed_by_in_silence() -> None:
    pipe = families.FAMILIES["wan"]()
    new = diffusers.FlowMatchEulerDiscreteScheduler()
    with genkit.apply(pipe, FIFO) as handle:
        pipe.scheduler = new
        with pytest.raises(GenkitError, match=r"pipe.scheduler was replaced after apply\(\)"):
            handle.generate(PROMPT, **LONG)
    assert pipe.scheduler is new


def test_an_interrupted_loop_is_no_video(wan: Any) -> None:
    def stop(pipe: Any, index: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = index >= 6
        return {}

    with genkit.apply(wan, FIFO) as handle, pytest.raises(GenkitError, match="interrupted after turn 7 of 12"):
        handle.generate(PROMPT, callback_on_step_end=stop, **LONG)


def test_a_window_of_one_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="fifo: window=1 must be at least 2 latent frames"):
        genkit.FIFO(window=1)


def test_lengths_beyond_the_table_of_positions_are_made(wan: Any) -> None:
    """Positions begin anew in each forward, so only the window has to fit."""
    frames = 4 * 256 + 1  # the small model keeps positions for 256 latent frames
    with pytest.raises(UsageError, match="the positions of this Wan 2.1 model end at 1021 frames"):
        genkit.generate(wan, PROMPT, **LONG | {"num_frames": frames})

    class Enough(Exception):
        """One turn is enough."""

    def stop(event: Progress) -> None:
        raise Enough

    with genkit.apply(wan, FIFO) as handle, pytest.raises(Enough):
        handle.generate(PROMPT, on_event=stop, **LONG | {"num_frames": frames})


# --- other plans ---


def example() -> dict[str, Any]:
    """What the example of the seam's page defines and makes."""
    found: dict[str, Any] = {}
    page = (TOP / "docs" / "seams" / "turn.md").read_text()
    exec(compile(page.split("```python\n")[1].split("```")[0], "turn.md", "exec"), found)  # noqa: S102
    return found


@needs_weights
def test_the_example_of_the_page_runs() -> None:
    video = example()["video"]
    assert video.frames.shape[0] == 9 and "8 turns of the sampling loop make 5 latent frames" in video.receipt.notes[0]


@needs_weights
def test_a_plan_of_plain_steps_is_the_stock_loop_bit_for_bit(wan: Any) -> None:
    found = example()

    class Plan(found["RestartPlan"]):  # type: ignore[misc]
        """As many steps as without."""

        def begin(self, levels: Any, frames: int, axis: int, draw: Any) -> Any:
            return found["RestartTurns"](levels, frames, 0, draw)

    class Plain(found["Restart"]):  # type: ignore[misc]
        """Its plug-in."""

        def parts(self, target: Any) -> Parts:
            return Parts(turns=Plan(0))

    plain = genkit.generate(wan, PROMPT, **LONG)
    with genkit.apply(wan, Plain()) as handle:
        assert np.array_equal(handle.generate(PROMPT, **LONG).frames, plain.frames)


@needs_weights
def test_previews_show_the_queue() -> None:
    """Two clean frames, which are the video's, and what becomes of the four noisy ones."""
    pipe, shown = genkit.load("tiny", device="cpu", dtype="float32"), []
    with genkit.apply(pipe, genkit.FIFO(window=3)) as handle:
        video = handle.generate(
            PROMPT, num_frames=15, num_inference_steps=4, seed=1, on_event=lambda event: shown.append(event.preview())
        )
    frames = [one.frames for one in shown if one is not None]
    assert [len(one) for one in frames] == [5] * 3 + [11] * 10
    assert np.allclose(frames[-1][1:5], video.frames[-4:], atol=1e-5), "the last queue begins with the last frames"
