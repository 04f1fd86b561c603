"""A recorded run leaves the pipeline as it was, and a replay is the forward that was recorded."""

import random
from typing import Any

import families
import pytest
import torch
from small_pipelines import SMALL
from torch import Tensor, nn

import genkit
from genkit.attention.replays.calls import moved
from genkit.attention.replays.replay import replay
from genkit.recording.recording import record
from genkit.recording.small import record_small, small_calls


def hooks_of(pipe: Any) -> list[Any]:
    """Everything that hooks on modules and shadows of methods leave behind."""
    found: list[Any] = []
    for name, part in vars(pipe).items():
        if isinstance(part, nn.Module):
            for module in part.modules():
                found += [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
                found += [key for key in vars(module) if key in ("forward", "cache_context")]
        found += [name] if name in ("prepare_latents", "encode_prompt", "progress_bar") else []
        found += [f"{name}.{key}" for key in getattr(part, "__dict__", {}) if key in ("step", "__deepcopy__")]
    return found


def test_the_pipeline_is_left_as_it_was() -> None:
    pipe = families.FAMILIES["wan"]()
    plain = video(pipe)
    hooks, scheduler, timesteps = hooks_of(pipe), pipe.scheduler, pipe.scheduler.timesteps.clone()
    torch.manual_seed(3)
    random.seed(3)
    state, numbers = torch.get_rng_state(), random.getstate()
    first = record_small(pipe).first["transformer"]
    replay(first)
    assert torch.equal(torch.get_rng_state(), state) and random.getstate() == numbers
    assert hooks_of(pipe) == hooks and pipe.scheduler is scheduler
    assert torch.equal(scheduler.timesteps, timesteps)
    assert torch.equal(video(pipe), plain)


def video(pipe: Any) -> Tensor:
    return torch.as_tensor(pipe(**families.call_arguments("wan")).frames)


@pytest.mark.parametrize("method", ["encode_prompt", "prepare_latents"])
def test_it_is_left_as_it_was_after_an_error_too(method: str) -> None:
    pipe = families.FAMILIES["wan"]()
    plain, hooks, scheduler = video(pipe), hooks_of(pipe), pipe.scheduler

    def broken(*words: Any, **named: Any) -> None:
        raise RuntimeError("half a prompt")

    pipe.__dict__[method] = broken
    with pytest.raises(RuntimeError, match="half a prompt"):
        record(pipe, **families.call_arguments("wan"))
    del pipe.__dict__[method]
    assert hooks_of(pipe) == hooks and pipe.scheduler is scheduler
    first = record_small(pipe).first["transformer"]
    with pytest.raises(Exception, match="size|shape|dim"):
        replay(first, {"hidden_states": torch.zeros(1, 3, 1, 2, 2)})
    assert hooks_of(pipe) == hooks and torch.equal(video(pipe), plain)


def test_a_replay_is_the_forward_that_was_recorded() -> None:
    pipe = families.FAMILIES["wan"]()
    outputs: list[Tensor] = []
    handle = pipe.transformer.register_forward_hook(lambda module, args, out: outputs.append(out[0]))
    first = record_small(pipe).first["transformer"]
    handle.remove()
    once, twice = replay(first), replay(first)
    assert torch.equal(once.output[0], outputs[0]) and torch.equal(once.output[0], twice.output[0])
    assert first.context is not None and first.context[0] == "cond"
    assert [(call.layer, call.tokens, call.mask) for call in once.calls[:2]] == [
        ("blocks.0.attn1", (60, 60), "none"),
        ("blocks.0.attn2", (60, 512), "none"),
    ]
    assert [one.name for one in once.passed if one.unchanged] == ["blocks"]
    latents = first.arguments["hidden_states"]
    changed = latents.clone()
    changed[:, :, -1] += 1
    after = replay(first, {"hidden_states": changed}).calls
    assert moved(once.calls[0].q, after[0].q)[0].nonzero().flatten().tolist() == list(range(48, 60))
    assert not moved(once.calls[1].k, after[1].k).any()


def test_turns_are_counted_on_copies_of_the_solver_too() -> None:
    recording = record_small(SMALL["LTX2Pipeline"].build())
    assert (recording.steps, recording.solvers) == (4, 2)
    assert [turn.context for turn in recording.turns if turn.step == 0] == [
        "cond_uncond",
        "uncond_stg",
        "uncond_modality",
    ]
    assert record_small(families.FAMILIES["mochi"]()).ascending


def test_a_second_backend_that_was_chosen_stays_chosen() -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.transformer.set_attention_backend("_native_math")
    chosen = [
        module.processor._attention_backend for module in pipe.transformer.modules() if hasattr(module, "processor")
    ]
    assert replay(record_small(pipe).first["transformer"]).calls
    after = [
        module.processor._attention_backend for module in pipe.transformer.modules() if hasattr(module, "processor")
    ]
    assert after == chosen


def test_what_cannot_be_run_says_which_call_failed() -> None:
    pipe = families.FAMILIES["wan"]()
    pipe.check_inputs = broken_inputs
    sentence = (
        r"WanPipeline could not be run small: pipe\(prompt='a red circle .*num_frames=17.*\) failed with ValueError: "
        r"only squares; give arguments that it takes, such as genkit\.trace\(pipe, num_frames=9, image=\.\.\.\)"
    )
    with pytest.raises(genkit.UsageError, match=sentence):
        record_small(pipe)


def broken_inputs(*words: Any, **named: Any) -> None:
    raise ValueError("only squares")


def test_given_arguments_are_in_every_call_and_unknown_ones_are_named() -> None:
    pipe = families.FAMILIES["wan"]()
    calls = list(small_calls(pipe, {"num_frames": 9, "prompt": "a cat"}))
    assert all(call["num_frames"] == 9 and call["prompt"] == "a cat" for call in calls)
    with pytest.raises(genkit.UsageError, match="immage: WanPipeline does not take it; it takes prompt, "):
        record_small(pipe, immage=None)


def test_a_pipeline_with_plug_ins_is_refused() -> None:
    pipe = families.FAMILIES["wan"]()
    with genkit.apply(pipe), pytest.raises(genkit.UsageError, match=r"this pipeline has plug-ins.*remove\(\) them"):
        record_small(pipe)
