"""Pipelines made of blocks: runs begin and end where their blocks are called, and each seam acts as in their twins."""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.modular_pipelines import PipelineState
from families import FAMILIES, PROMPT
from small_pipelines import MODULAR, SMALL
from small_pipelines.minimax_h3 import FRAMES
from torch import Tensor

import genkit
from genkit.attention.facts.call import defaults_of_call
from genkit.attention.private import BLOCKS
from genkit.generation.events import Progress

WAN = MODULAR["WanModularPipeline"]
PLUGINS = (
    "threshold:tau=1,block=8,min_tokens=1,dense_steps=0,dense_layers=0",
    "windows:window=3,stride=2,beyond_training=true",
    "position-interpolation:factor=2",
    "freenoise:window=3,stride=1",
    "pab:spatial_attention_timestep_skip_range=-1x1001",
)


def applied(pipe: Any, *texts: str) -> genkit.Handle:
    return genkit.apply(pipe, *map(genkit.plugins.catalogue.parse, texts))


@pytest.fixture(scope="module")
def twins() -> tuple[Any, Any]:
    """Wan by blocks, and Wan by its own loop, of the same weights."""
    return WAN.build(), SMALL["WanPipeline"].build()


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plug_in_does_in_blocks_what_it_does_in_a_loop(twins: tuple[Any, Any], plugin: str) -> None:
    modular, stock = twins
    plain = WAN.video(modular)
    assert torch.equal(plain, SMALL["WanPipeline"].video(stock))
    with applied(modular, plugin):
        made = WAN.video(modular)
    with applied(stock, plugin):
        assert torch.equal(made, SMALL["WanPipeline"].video(stock))
    assert not torch.equal(made, plain)


def test_prompts_over_time_are_those_of_a_loop(twins: tuple[Any, Any]) -> None:
    """The negative text is repeated, because a block compares its length; that changes no more than the rounding."""
    modular, stock = twins
    events = {"prompt": "a red circle | a blue square"}
    with applied(modular, "timeline"):
        made = WAN.video(modular, **events)
    with applied(stock, "timeline"):
        same = SMALL["WanPipeline"].video(stock, **events)
    assert (made - same).abs().max() <= 1e-4 * same.abs().max()


def test_a_call_leaves_a_receipt_with_its_arguments() -> None:
    pipe = WAN.build()
    with applied(pipe, PLUGINS[0]) as handle:
        WAN.video(pipe)
        WAN.video(pipe, num_inference_steps=3)
    first, second = handle.receipts
    assert (first.frames_asked, first.height, first.width) == (17, 48, 64)
    assert (first.arguments["num_inference_steps"], second.arguments["num_inference_steps"]) == (2, 3)
    assert first.arguments["negative_prompt"] == WAN.call["negative_prompt"]
    assert first.attention.densities["threshold"].mean < 0.9


def test_a_state_counts_as_the_arguments_of_a_call() -> None:
    pipe, state = WAN.build(), PipelineState()
    for name, value in WAN.arguments().items():
        state.set(name, value)
    with applied(pipe) as handle:
        pipe(state=state, height=64)
    assert (handle.receipts[0].frames_asked, handle.receipts[0].height) == (17, 64)


def test_blocks_are_where_they_were_after_removal_and_copies_have_none_of_ours() -> None:
    pipe = WAN.build()
    whole = BLOCKS.read(pipe)
    parts = dict(whole.sub_blocks["denoise"].sub_blocks)
    handle = applied(pipe, "freenoise:window=3,stride=1", "timeline")
    assert BLOCKS.read(pipe) is not whole and isinstance(BLOCKS.read(pipe), type(whole))
    for copied in (copy.deepcopy(pipe)._blocks, pipe.blocks):
        found = [copied, *copied.sub_blocks.values(), *copied.sub_blocks["denoise"].sub_blocks.values()]
        assert all(type(one).__module__.startswith("diffusers.") for one in found)
    handle.remove()
    assert BLOCKS.read(pipe) is whole and dict(whole.sub_blocks["denoise"].sub_blocks) == parts


def test_another_pipeline_of_the_same_blocks_computes_as_without_us() -> None:
    pipe = WAN.build()
    other = type(pipe)(blocks=BLOCKS.read(pipe))
    other.update_components(**pipe.components)
    plain = WAN.video(other)
    with applied(pipe, "freenoise:window=3,stride=1") as handle:
        assert torch.equal(WAN.video(other), plain) and not handle.receipts
        assert not torch.equal(WAN.video(pipe), plain) and len(handle.receipts) == 1


def test_a_failed_call_does_not_end_and_the_next_one_is_complete() -> None:
    pipe = WAN.build()
    with applied(pipe, PLUGINS[0]) as handle:
        with pytest.raises(ValueError, match="divisible|multiple"):
            WAN.video(pipe, height=50)
        assert not handle.receipts
        WAN.video(pipe)
        assert len(handle.receipts) == 1


def test_generate_makes_a_video_of_the_same_latents() -> None:
    pipe = WAN.build()
    events: list[Progress] = []
    asked = {name: value for name, value in WAN.call.items() if name not in ("prompt", "output_type")}
    with applied(pipe) as handle:
        video = handle.generate(PROMPT, seed=7, on_event=events.append, **asked)
    frames = pipe(**WAN.arguments()).videos[0]
    assert torch.equal(torch.as_tensor(video.frames), torch.as_tensor(frames))
    assert [(event.step, event.total) for event in events if event.stage == "denoise"] == [(1, 2), (2, 2)]
    assert video.receipt is not None and video.receipt.pipeline == "WanModularPipeline" and video.receipt.fps == 16
    assert video.request["prompt"] == PROMPT and video.request["num_inference_steps"] == 2
    assert handle.receipts == [video.receipt]


def test_a_callers_error_stops_a_run_within_the_step() -> None:
    class StopError(Exception):
        pass

    def stop(event: Progress) -> None:
        if event.step == 1:
            raise StopError

    pipe = WAN.build()
    with applied(pipe) as handle, pytest.raises(StopError):
        handle.generate(PROMPT, num_frames=17, height=48, width=64, num_inference_steps=3, on_event=stop)


@pytest.mark.parametrize(
    ("name", "plugin", "reason"),
    [
        ("WanModularPipeline", "fifo", "has these in its blocks; use the pipeline of this model that is not modular"),
        ("HeliosModularPipeline", "freenoise:window=3", "no block .* draws them before its loop begins"),
        ("HeliosModularPipeline", "timeline", "makes the video in parts"),
        ("MiniMaxH3ModularPipeline", "freenoise:window=3", "rows of a sequence that keyframes and references stand in"),
        ("MiniMaxH3ModularPipeline", "windows:window=3,beyond_training=true", "its sound is denoised in one sequence"),
        ("MiniMaxH3ModularPipeline", "riflex", "numbers its frames on one clock with its sound, .*; leave riflex out$"),
    ],
)
def test_what_blocks_cannot_do_is_refused_with_its_reason(name: str, plugin: str, reason: str) -> None:
    pipe = MODULAR[name].build()
    with pytest.raises(genkit.UsageError, match=reason):
        applied(pipe, plugin)
    assert type(BLOCKS.read(pipe)).__module__.startswith("diffusers.")


def test_frames_need_a_block_that_decodes() -> None:
    pipe = MODULAR["MiniMaxH3ModularPipeline"].build()
    with applied(pipe) as handle, pytest.raises(genkit.UsageError, match="no block .* decodes its latents"):
        handle.generate(PROMPT, height=64, width=64, num_inference_steps=3)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"fps": 30}, "makes 24 frames per second alone; leave fps out"),
        ({"num_frames": 130}, r"makes 17k \+ 5 frames, 124 to 345; the nearest is 124"),
        ({"num_frames": 400}, "the nearest is 345"),
        ({"height": 70}, "makes multiples of 32; the nearest is 64"),
        ({"negative_prompt": "blue"}, "has no argument 'negative_prompt'"),
    ],
)
def test_minimax_h3_says_what_it_makes(asked: dict[str, Any], reason: str) -> None:
    pipe = FRAMES.build()
    with applied(pipe) as handle, pytest.raises(genkit.UsageError, match=reason):
        handle.generate(PROMPT, **{"height": 64, "width": 64, "num_inference_steps": 3, **asked})


@pytest.mark.slow
def test_minimax_h3_makes_a_video_at_its_own_rate() -> None:
    pipe = FRAMES.build()
    with applied(pipe, PLUGINS[0]) as handle:
        video = handle.generate(PROMPT, height=64, width=64, num_inference_steps=3, seed=7)
    assert (len(video.frames), video.fps) == (124, 24)
    assert video.receipt is not None and video.receipt.attention.calls == 4
    assert any("sound" in note for note in video.receipt.notes)


@pytest.mark.parametrize("name", ["WanModularPipeline", "LTXModularPipeline"])
def test_branches_are_told_apart_with_names_and_without(name: str) -> None:
    """The blocks of LTX name the branches of their guider, those of Wan do not; cond comes first in both."""
    pipe, seen = MODULAR[name].build(), list[tuple[str, ...]]()
    with applied(pipe) as handle:
        handle.session.watchers.append(SimpleNamespace(begin=lambda one: seen.append(one.step.branches), end=print))
        MODULAR[name].video(pipe)
    assert seen == [("cond",), ("uncond",)] * 2


def test_what_a_call_takes_is_read_from_blocks_as_from_a_signature() -> None:
    modular, stock = defaults_of_call(WAN.build()), defaults_of_call(FAMILIES["wan"]())
    shared = set(modular) & set(stock)
    assert {"prompt", "num_frames", "height", "generator", "max_sequence_length"} <= shared
    assert {name: modular[name] for name in shared}["max_sequence_length"] == stock["max_sequence_length"]
    assert None not in modular and "callback_on_step_end" not in modular


def videos_of(pipe: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return WAN.video(pipe)


def test_a_call_with_our_passages_warns_of_nothing() -> None:
    pipe = WAN.build()
    with applied(pipe):
        assert videos_of(pipe).isfinite().all()
