"""apply, generate, remove: the promises that users rely on."""

import families
import numpy as np
import pytest
import torch

import genkit
from genkit.plugins.longer.freelong import FreeLong
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.prompts.timeline import Timeline

SMALL = {"num_frames": 17, "height": 48, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16}


@pytest.fixture(scope="module")
def wan():
    pipe = families.FAMILIES["wan"]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_generate_is_the_same_call_for_every_family(name):
    pipe = families.FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    arguments = {k: v for k, v in families.sizes(name).items() if k not in ("prompt", "negative_prompt")}
    events = []
    one = genkit.generate(pipe, "a red circle", seed=5, on_event=events.append, **arguments)
    two = genkit.generate(pipe, "a red circle", seed=5, **arguments)
    assert np.array_equal(one.frames, two.frames)
    assert one.frames.shape[0] == arguments["num_frames"] == one.receipt.frames
    steps = [event.step for event in events if event.stage == "denoise"]
    assert steps == list(range(1, arguments["num_inference_steps"] + 1)) and events[-1].stage == "decode"
    assert events[-1].left == 0
    assert one.receipt.seed == 5 and one.receipt.family == genkit.apply(pipe).card.family


def test_a_seed_is_drawn_reported_and_repeatable(wan):
    with genkit.apply(wan) as handle:
        drawn = handle.generate("a red circle", **SMALL)
        again = handle.generate("a red circle", seed=drawn.receipt.seed, **SMALL)
        other = handle.generate("a red circle", seed=-1, **SMALL)
    assert np.array_equal(drawn.frames, again.frames)
    assert other.receipt.seed != drawn.receipt.seed
    assert drawn.request["seed"] == drawn.receipt.seed


def test_generating_leaves_the_global_random_state_alone(wan):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with genkit.apply(wan, FreeNoise(window=2, stride=1)) as handle:
        handle.generate("a red circle", seed=3, **SMALL)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("plugin", [FreeNoise(), FreeLong()])
def test_longer_methods_change_nothing_at_native_length(wan, plugin):
    plain = genkit.generate(wan, "a red circle", seed=3, **SMALL)
    with genkit.apply(wan, plugin) as handle:
        assert np.array_equal(handle.generate("a red circle", seed=3, **SMALL).frames, plain.frames)


def test_one_event_is_the_plain_prompt_bit_for_bit(wan):
    plain = genkit.generate(wan, "a red circle", seed=3, **SMALL)
    with genkit.apply(wan, Timeline()) as handle:
        assert np.array_equal(handle.generate("a red circle", seed=3, **SMALL).frames, plain.frames)
        two = handle.generate("a red circle | a blue square", seed=3, **SMALL)
    assert not np.array_equal(two.frames, plain.frames)


def test_events_with_times_equal_the_bar_when_the_times_do(wan):
    seconds = 17 / 16
    events = [
        {"prompt": "a red circle", "start": 0, "end": seconds / 2},
        {"prompt": "a blue square", "start": seconds / 2, "end": seconds},
    ]
    with genkit.apply(wan, Timeline()) as handle:
        bar = handle.generate("a red circle | a blue square", seed=3, **SMALL)
        timed = handle.generate(events, seed=3, **SMALL)
        late = handle.generate([events[0], {"prompt": "a blue square", "start": 0.9}], seed=3, **SMALL)
    assert np.array_equal(bar.frames, timed.frames)
    assert not np.array_equal(bar.frames, late.frames)
    assert timed.request["prompt"][1]["start"] == seconds / 2


def test_plugins_also_act_on_the_pipelines_own_call(wan):
    arguments = SMALL | {"prompt": "a red circle", "output_type": "latent"}
    with genkit.apply(wan, FreeNoise(window=2, stride=1)):
        inside = wan(**arguments, generator=torch.Generator().manual_seed(1)).frames
    outside = wan(**arguments, generator=torch.Generator().manual_seed(1)).frames
    assert not torch.equal(inside, outside)


def test_remove_ends_it_and_says_so(wan):
    handle = genkit.apply(wan)
    assert "nothing generated yet" in handle.report()
    handle.generate("a red circle", seed=1, **SMALL)
    assert "seed       1" in handle.report()
    handle.remove()
    handle.remove()
    with pytest.raises(genkit.GenkitError, match="these plug-ins were removed"):
        handle.generate("a red circle")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 18}, r"num_frames=18: Wan 2.1 makes 4k \+ 1 frames; the nearest is 17"),
        ({"num_frames": 0}, "num_frames=0.*the nearest is 1"),
        ({"width": 70}, "width=70: Wan 2.1 makes multiples of 16; the nearest is 64"),
        ({"num_inference_steps": 0}, "num_inference_steps=0 must be a whole number of at least 1"),
        ({"prompt": "  "}, "the prompt is '  '; say in words"),
        ({"prompt": "red " * 40}, "the prompt has 4. tokens but this model reads 16; shorten it"),
        ({"seed": 1.5}, "seed=1.5 must be a whole number"),
        ({"seed": -2}, "seed=-2 must be a whole number"),
        ({"fps": 0}, "fps=0 must be a number of frames per second"),
        ({"steps": 3}, "WanPipeline has no argument 'steps'; did you mean 'num_inference_steps'"),
        ({"plugins": ["threshold"]}, "plugins= is not accepted here: plug-ins are applied to the pipeline first"),
        ({"num_frame": 17}, "WanPipeline has no argument 'num_frame'; did you mean 'num_frames'"),
        ({"prompt": [{"prompt": "a red circle"}]}, "the prompt is a list of events, but there is no timeline plug-in"),
    ],
)
def test_bad_input_gets_a_sentence_before_anything_runs(wan, changes, message):
    arguments = {"prompt": "a red circle"} | SMALL | changes
    with genkit.apply(wan) as handle:
        with pytest.raises(genkit.UsageError, match=message):
            handle.generate(**arguments)
        assert not handle.session.run.routed


def test_events_beyond_the_video_are_refused_before_anything_runs(wan):
    with genkit.apply(wan, Timeline()) as handle:
        with pytest.raises(genkit.UsageError, match="event 2 runs from 3 s to 4 s.*inside the video's 1.0625 s"):
            handle.generate([{"prompt": "a", "end": 0.5}, {"prompt": "b", "start": 3, "end": 4}], **SMALL)
        assert not handle.session.run.routed


@pytest.mark.parametrize(("name", "wrong", "right"), [("cogvideox", 21, 17), ("ltx", 32, 33), ("mochi", 24, 25)])
def test_each_family_says_its_nearest_length(name, wrong, right):
    pipe = families.FAMILIES[name]()
    with pytest.raises(genkit.UsageError, match=f"num_frames={wrong}.*the nearest is {right}"):
        genkit.generate(pipe, "a red circle", **(families.sizes(name) | {"num_frames": wrong}))


def test_animatediff_ends_where_its_positions_end():
    pipe = families.FAMILIES["animatediff"]()
    with pytest.raises(genkit.UsageError, match="num_frames=33: the positions of this AnimateDiff model end at 32"):
        genkit.generate(pipe, "a red circle", num_frames=33)


def test_two_plugins_that_cannot_be_combined(wan):
    with pytest.raises(genkit.UsageError, match="freenoise and freelong cannot be combined: both change the noise"):
        genkit.apply(wan, FreeNoise(), FreeLong())
    assert genkit.generate(wan, "a red circle", seed=1, **SMALL).receipt.plugins == ()


@pytest.mark.parametrize("name", ["hunyuan", "cogvideox", "mochi"])
def test_timeline_refuses_joint_attention(name):
    with pytest.raises(genkit.UsageError, match="timeline works in cross-attention, and .* has text and video in one"):
        genkit.apply(families.FAMILIES[name](), Timeline())


@pytest.mark.parametrize("name", ["wan", "text_to_video_sd"])
def test_nan_in_the_latents_stops_and_names_the_step(name):
    pipe = families.FAMILIES[name]()
    pipe.set_progress_bar_config(disable=True)
    arguments = families.sizes(name)
    step = pipe.scheduler.step

    def poisoned(*args, **kwargs):
        out = step(*args, **kwargs)
        if pipe.scheduler.__dict__.setdefault("count", 0) == 1:
            (out[0] if isinstance(out, tuple) else out.prev_sample).fill_(float("nan"))
        pipe.scheduler.count += 1
        return out

    pipe.scheduler.step = poisoned
    with pytest.raises(genkit.GenkitError, match="became NaN or infinite in step 2 of"):
        genkit.generate(pipe, "a red circle", seed=1, **{k: v for k, v in arguments.items() if "prompt" not in k})


def test_an_interruption_stops_within_one_step_and_cleans_up(wan):
    steps = []

    def interrupt(event):
        if event.stage == "denoise":
            steps.append(event.step)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), genkit.apply(wan, FreeNoise()) as handle:
        handle.generate("a red circle", seed=1, on_event=interrupt, **SMALL)
    assert steps == [1]
    assert genkit.generate(wan, "a red circle", seed=1, **SMALL).receipt.plugins == ()


def test_a_bar_without_timeline_is_noted(wan):
    video = genkit.generate(wan, "a red circle | a blue square", seed=1, **SMALL)
    assert any("there is no timeline plug-in" in note for note in video.receipt.notes)


def test_unknown_names_of_the_package_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        genkit.nothing  # noqa: B018
    assert "load" in dir(genkit)


def test_a_layer_out_of_reach_is_an_error_that_names_it():
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.blocks[1].attn1.forward = lambda hidden, *rest: hidden
    with pytest.raises(genkit.GenkitError, match=r"transformer\.blocks\.1\.attn1 never called"):
        genkit.generate(pipe, "a red circle", seed=1, **SMALL)


def test_a_direct_call_leaves_a_receipt() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe, genkit.Radial(density=1.0, min_tokens=1)) as handle:
        assert handle.receipts == [] and "nothing generated yet" in handle.report()
        pipe(**families.call_arguments("wan"))
        video = handle.generate("a red circle", **families.sizes("wan"))
        pipe(**families.call_arguments("wan"))
        first, second, third = handle.receipts
    assert second == video.receipt
    assert first.plugins == video.receipt.plugins and first.attention.calls == third.attention.calls > 0
    assert (first.seed, first.frames, first.frames_asked) == (None, None, 17)
    assert first.arguments["num_inference_steps"] == 2 and "generator" not in first.arguments
    assert "17 frames of 48x64, made by calling the pipeline itself" in str(first)
    assert str(third) in handle.report()


def test_a_direct_call_that_fails_leaves_none() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe) as handle:
        with pytest.raises(ValueError, match="divisible by 16"):
            pipe(**families.call_arguments("wan") | {"height": 47})
        assert handle.receipts == []
