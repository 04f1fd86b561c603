"""Where and how weights are stored and run: group offload, layerwise casting, compilation."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from small_pipelines import SMALL

import genkit
from genkit.opening import stored
from genkit.opening.stored import compile_models, place

WAN = SMALL["WanPipeline"]
SPARSE = genkit.Radial(density=0.5, block=8, min_tokens=1, dense_steps=0, dense_layers=0)


def video(pipe: Any) -> torch.Tensor:
    pipe.set_progress_bar_config(disable=True)
    return WAN.video(pipe)


def made_with(pipe: Any, *plugins: Any) -> genkit.Video:
    sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
    with genkit.apply(pipe, *plugins) as handle:
        return handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes)


def test_layerwise_casting_is_diffusers_own() -> None:
    by_hand = WAN.build()
    by_hand.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    pipe = genkit.load(WAN.build(), layerwise="float8")
    assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    made, plain = video(pipe), video(WAN.build())
    assert torch.equal(made, video(by_hand)) and not torch.equal(made, plain)
    assert (made - plain).abs().max() < 0.2 * plain.abs().max()


def test_layerwise_casting_works_below_a_plugin_and_is_in_receipt_and_recipe() -> None:
    made = made_with(genkit.load(WAN.build(), layerwise="float8"), SPARSE)
    assert made.receipt.opened["layerwise"] == "float8" and made.request["layerwise"] == "float8"
    assert made.receipt.attention.densities and made.receipt.dtype == "float32"


def test_group_offload_gives_the_same_video_below_a_plugin() -> None:
    """On a CPU the groups come from there and go there, which is all that can be seen here."""
    pipe = WAN.build()
    place(pipe, "group", "cpu", False)
    first, second = made_with(pipe, SPARSE), made_with(pipe, SPARSE)
    plain = made_with(WAN.build(), SPARSE)
    assert (first.uint8() == plain.uint8()).all() and (second.uint8() == plain.uint8()).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_group_offload_without_a_gpu_is_refused_before_the_model_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genkit.loading.open_pipeline", lambda *words: pytest.fail("the model was opened"))
    with pytest.raises(genkit.UsageError, match="offload='group' moves parts between CPU and a GPU"):
        genkit.load("tiny", offload="group")


@pytest.mark.parametrize("how", ["blocks", "model"])
def test_what_is_compiled_computes_the_same(how: str) -> None:
    """Traced by Dynamo and run as it is: what inductor makes of it is PyTorch's business, and takes minutes here."""
    pipe, plain = WAN.build(), made_with(WAN.build())
    with torch._dynamo.config.patch(suppress_errors=False):
        compile_models(pipe, how)
    compiled = pipe.transformer if how == "model" else pipe.transformer.blocks[0]
    other = pipe.transformer.blocks[0] if how == "model" else pipe.transformer
    assert compiled._compiled_call_impl is not None and other._compiled_call_impl is None
    with torch.compiler.set_stance("force_eager"):
        assert (made_with(pipe).uint8() == plain.uint8()).all()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"layerwise": "float16"}, "layerwise='float16' is unknown; did you mean 'float8'"),
        ({"compile": True}, "compile=True is unknown"),
        ({"compile": "block"}, "compile='block' is unknown; did you mean 'blocks'"),
        ({"offload": "groups"}, "offload='groups' is unknown; did you mean 'group'"),
    ],
)
def test_unknown_values_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(genkit.UsageError, match=message):
        genkit.load(WAN.build(), **asked)


@pytest.mark.skipif(importlib.util.find_spec("peft") is not None, reason="says what happens without peft")
def test_a_lora_without_peft_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.safetensors").touch()
    monkeypatch.setattr("genkit.loading.open_pipeline", lambda *words: pytest.fail("the model was opened"))
    with pytest.raises(genkit.UsageError, match="a LoRA needs the package peft, .*; pip install .*peft"):
        genkit.load("tiny", lora=str(tmp_path / "a.safetensors"))


def test_casting_and_quantising_are_one_or_the_other() -> None:
    with pytest.raises(genkit.UsageError, match="layerwise='float8' casts weights that quantize='int8' has made small"):
        genkit.load("tiny", layerwise="float8", quantize="int8")


def test_blocks_that_diffusers_does_not_know() -> None:
    with pytest.raises(genkit.UsageError, match="compile='blocks' is not possible with a CogVideoXTransformer3DModel"):
        genkit.load(SMALL["CogVideoXPipeline"].build(), compile="blocks")


def test_a_cpu_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored.shutil, "which", lambda name: None)
    with pytest.raises(genkit.UsageError, match=r"compile='model' on a CPU needs a C\+\+ compiler"):
        genkit.load(WAN.build(), compile="model", device="cpu")
