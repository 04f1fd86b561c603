"""LoRA loaded before, inside and between videos: weights, fusing, a second adapter, and every way out."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from workflows import PIPELINES, PLUGINS, applied, build, expected, model, routed_videos, video

import genkit

peft = pytest.importorskip("peft", reason="pip install '.[lora]'")
STEPS: dict[str, Callable[[Any], object]] = {
    "loaded": lambda pipe: None,
    "weighted": lambda pipe: pipe.set_adapters(["one"], [0.5]),
    "fused": lambda pipe: pipe.fuse_lora(adapter_names=["one"]),
    "unfused": lambda pipe: pipe.unfuse_lora(),
    "disabled": lambda pipe: pipe.disable_lora(),
    "enabled": lambda pipe: pipe.enable_lora(),
    "deleted": lambda pipe: pipe.delete_adapters("one"),
    "unloaded": lambda pipe: pipe.unload_lora_weights(),
}
CHANGING = {"loaded", "weighted", "fused", "unfused", "enabled"}
"""Steps after which the adapter acts."""


def adapter(name: str, seed: int) -> dict[str, Tensor]:
    """Return the random weights of an adapter of the attention layers, as a file has them."""
    trained = model(build(name))
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_out.0"], init_lora_weights=False)
    trained.add_adapter(config, "new")
    found = peft.get_peft_model_state_dict(trained, adapter_name="new")
    return {f"transformer.{key}": value for key, value in found.items()}


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", PIPELINES)
def test_each_step_inside_is_the_same_step_on_what_was_loaded_before(name: str, plugins: str) -> None:
    weights, before, inside = adapter(name, 1), build(name), build(name)
    before.load_lora_weights(dict(weights), adapter_name="one")
    with applied(before, plugins) as first, applied(inside, plugins) as second:
        assert torch.equal(video(name, inside), expected(name, plugins))
        inside.load_lora_weights(dict(weights), adapter_name="one")
        for step, change in STEPS.items():
            for pipe in (before, inside):
                change(pipe)
            (one,), (two,) = routed_videos(first, name, 1), routed_videos(second, name, 1)
            assert torch.equal(one, two), step
            distance = (one - expected(name, plugins)).abs().max()
            assert (distance > 1e-3) == (step in CHANGING), step
    for pipe in (before, inside):
        torch.testing.assert_close(video(name, pipe), expected(name, "nothing"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PIPELINES)
def test_two_adapters_with_weights_are_diffusers_own(name: str) -> None:
    plain, inside = build(name), build(name)
    with applied(inside, "nothing") as handle:
        for pipe in (plain, inside):
            for number in (1, 2):
                pipe.load_lora_weights(adapter(name, number), adapter_name=f"number {number}")
            pipe.set_adapters(["number 1", "number 2"], [0.7, -0.4])
        (made,) = routed_videos(handle, name, 1)
        assert torch.equal(made, video(name, plain))
        for pipe in (plain, inside):
            pipe.delete_adapters("number 1")
        (left,) = routed_videos(handle, name, 1)
        assert torch.equal(left, video(name, plain)) and not torch.equal(left, made)


def test_an_adapter_that_comes_between_two_steps_acts_from_the_next() -> None:
    weights, videos = adapter("wan", 1), {}
    for plugins in ("stock", "nothing", "sparse"):
        pipe = build("wan")

        def load(pipe: Any, index: int, *given: Any) -> dict[str, Any]:
            if index == 0:
                pipe.load_lora_weights(dict(weights), adapter_name="one")
            return {}

        if plugins == "stock":
            videos[plugins] = video("wan", pipe, callback_on_step_end=load)
            continue
        with applied(pipe, plugins) as handle:
            videos[plugins] = video("wan", pipe, callback_on_step_end=load)
            assert len(handle.session.run.routed) == len(handle.session.layers)
    assert torch.equal(videos["nothing"], videos["stock"])
    assert not torch.equal(videos["sparse"], expected("wan", "sparse"))


def test_an_attention_layer_that_peft_replaces_is_routed_or_an_error() -> None:
    """``modules_to_save`` puts a wrapper around the whole layer."""
    config = peft.LoraConfig(r=2, target_modules=["to_q"], modules_to_save=["attn1"], init_lora_weights=False)
    before, inside = build("wan"), build("wan")
    before.transformer.add_adapter(config, "one")
    assert "ModulesToSave" in type(before.transformer.blocks[0].attn1).__name__
    with applied(before, "sparse") as handle:
        routed_videos(handle, "wan")
        assert handle.session.run.densities
    with (
        applied(inside, "sparse"),
        pytest.raises(genkit.GenkitError, match=r"pipe\.transformer\.blocks\.0\.attn1 was replaced after apply"),
    ):
        inside.transformer.add_adapter(config, "one")
        video("wan", inside)


def test_an_adapter_of_another_model_is_refused_and_the_plug_ins_stay() -> None:
    pipe = build("wan")
    with applied(pipe, "sparse"):
        with pytest.raises((ValueError, RuntimeError)):
            pipe.load_lora_weights(adapter("hunyuan", 1), adapter_name="one")
        assert torch.equal(video("wan", pipe), expected("wan", "sparse"))
