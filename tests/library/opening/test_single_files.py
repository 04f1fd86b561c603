"""Parts of a model from single files: safetensors, GGUF, and weights that are quantised."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_pipelines import SMALL
from torch import Tensor

import genkit
from genkit.opening.files import is_weights, read_weights

WAN = SMALL["WanPipeline"]
EXPERTS = SMALL["WanPipeline-2.2"]
needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs gguf")
needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
HERE: dict[str, Any] = {"dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline whose denoising model has other weights than the file that replaces it, or none at all."""
    folder = tmp_path_factory.mktemp("base")
    pipe = WAN.build()
    with torch.no_grad():
        for weight in pipe.transformer.parameters():
            weight.mul_(0.5)
    pipe.save_pretrained(folder)
    return folder


def file_of(model: torch.nn.Module, path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return str(path)


def of_wan(pipe: Any) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    return WAN.video(pipe)


def check_same(pipe: Any) -> None:
    """The weights are those of the file bit for bit; where they are in memory decides the rounding of a video."""
    expected = WAN.build()
    state = expected.transformer.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in pipe.transformer.state_dict().items())
    torch.testing.assert_close(of_wan(pipe), of_wan(expected), rtol=0, atol=2e-5)


def test_a_file_is_the_denoising_model_of_its_base(base: Path, tmp_path: Path) -> None:
    file = file_of(WAN.build().transformer, tmp_path / "wan.safetensors")
    assert (of_wan(genkit.load(base, **HERE)) - of_wan(WAN.build())).abs().max() > 0.01
    check_same(genkit.load(file, base=base, **HERE))
    check_same(genkit.load(base, weights=file, **HERE))


def test_the_base_needs_no_weights_for_what_the_file_has(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "light")
    (tmp_path / "light" / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    file = file_of(WAN.build().transformer, tmp_path / "wan.safetensors")
    check_same(genkit.load(file, base=tmp_path / "light", **HERE))


AUTHORS = [
    *[("attn1.to_out.0", "self_attn.o"), ("attn1.to_", "self_attn."), ("attn1.", "self_attn.")],
    *[("attn2.to_out.0", "cross_attn.o"), ("attn2.to_", "cross_attn."), ("attn2.", "cross_attn.")],
    *[
        ("ffn.net.0.proj", "ffn.0"),
        ("ffn.net.2", "ffn.2"),
        ("norm2", "norm__"),
        ("norm3", "norm2"),
        ("norm__", "norm3"),
    ],
    *[(f"condition_embedder.time_embedder.linear_{n + 1}", f"time_embedding.{2 * n}") for n in (0, 1)],
    *[(f"condition_embedder.text_embedder.linear_{n + 1}", f"text_embedding.{2 * n}") for n in (0, 1)],
    *[("condition_embedder.time_proj", "time_projection.1"), ("proj_out", "head.head")],
]
"""Names of diffusers, each with that of Wan's authors, in which the published single files are."""


def in_authors_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        for ours, theirs in AUTHORS:
            name = name.replace(ours, theirs)
        name = "head.modulation" if name == "scale_shift_table" else name.replace("scale_shift_table", "modulation")
        found[f"model.diffusion_model.{name}"] = tensor.contiguous()
    return found


def test_names_of_the_authors_are_converted(base: Path, tmp_path: Path) -> None:
    save_file(in_authors_names(WAN.build().transformer.state_dict()), tmp_path / "theirs.safetensors")
    check_same(genkit.load(str(tmp_path / "theirs.safetensors"), base=base, **HERE))


def test_a_file_with_more_than_the_transformer_gives_the_transformer(tmp_path: Path) -> None:
    """LTX-Video's published files have the autoencoder beside it; that of the base is used."""
    pipe = SMALL["LTXPipeline"].build()
    pipe.save_pretrained(tmp_path / "base")
    theirs = {}
    for name, tensor in pipe.transformer.state_dict().items():
        for ours, own in (("proj_in", "patchify_proj"), ("time_embed", "adaln_single"), ("norm_q", "q_norm")):
            name = name.replace(ours, own)
        theirs[f"model.diffusion_model.{name.replace('norm_k', 'k_norm')}"] = tensor.contiguous()
    theirs |= {f"vae.{name}": tensor.contiguous() for name, tensor in pipe.vae.state_dict().items()}
    save_file(theirs, tmp_path / "ltx.safetensors")
    made = genkit.load(tmp_path / "ltx.safetensors", base=tmp_path / "base", **HERE).transformer.state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in pipe.transformer.state_dict().items())


def test_each_expert_has_a_file(tmp_path: Path) -> None:
    pipe = EXPERTS.build()
    pipe.save_pretrained(tmp_path / "base")
    high, low = pipe.transformer, pipe.transformer_2
    with torch.no_grad():
        low.proj_out.weight.mul_(2)
    files = [file_of(high, tmp_path / "high.safetensors"), file_of(low, tmp_path / "low.safetensors")]
    made = genkit.load(files[0], base=tmp_path / "base", weights=f"transformer_2={files[1]}", **HERE)
    assert torch.equal(made.transformer_2.proj_out.weight, low.proj_out.weight)
    assert torch.equal(made.transformer.proj_out.weight, high.proj_out.weight)


def test_receipt_and_recipe_name_the_files(base: Path, tmp_path: Path) -> None:
    file = file_of(WAN.build().transformer, tmp_path / "wan.safetensors")
    sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
    options = {"max_sequence_length": 16}
    request = genkit.Request(prompt="a red", model=file, base=str(base), seed=1, options=options, **sizes, **HERE)
    made = genkit.make(request)
    assert made.receipt.opened["weights from"] == file and made.receipt.model == file
    assert {"model": file, "base": str(base)}.items() <= made.request.items()
    assert genkit.Request.model_validate(made.request).opening() == request.opening()


def test_weights_of_another_size_and_missing_and_unused_ones(base: Path, tmp_path: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in WAN.build().transformer.state_dict().items()}
    larger = {name: torch.cat([tensor, tensor]) for name, tensor in state.items()}
    fewer = {name: tensor for name, tensor in state.items() if "blocks.1" not in name}
    more = in_authors_names(state)
    more |= {name.replace("blocks.1", "blocks.9"): tensor for name, tensor in more.items() if "blocks.1" in name}
    for name, tensors in (("larger", larger), ("fewer", fewer), ("more", more)):
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, tmp_path / f"{name}.safetensors")
    with pytest.raises(genkit.GenkitError, match="opened as the WanTransformer3DModel of .*expected shape"):
        genkit.load(base, weights=str(tmp_path / "larger.safetensors"), **HERE)
    with pytest.raises(genkit.GenkitError, match="some of the model's weights are missing from it"):
        genkit.load(base, weights=str(tmp_path / "fewer.safetensors"), **HERE)
    pipe = genkit.load(base, weights=str(tmp_path / "more.safetensors"), **HERE)
    with genkit.apply(pipe) as handle:
        sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
        made = handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes)
    note = next(note for note in made.receipt.notes if "more.safetensors" in note)
    assert "that transformer has no place for were not used: blocks.9" in note and "more" in note


def test_what_is_missing_is_said_before_anything_is_opened(base: Path, tmp_path: Path) -> None:
    file = file_of(WAN.build().transformer, tmp_path / "wan.safetensors")
    with pytest.raises(genkit.UsageError, match="text encoder, autoencoder and configuration come from a pipeline"):
        genkit.load(file, **HERE)
    with pytest.raises(genkit.UsageError, match="there is no such file"):
        genkit.load(str(tmp_path / "nowhere.safetensors"), base=base, **HERE)
    with pytest.raises(genkit.UsageError, match="may run code when it is opened"):
        genkit.load(str(tmp_path / "old.ckpt"), base=base, **HERE)
    with pytest.raises(genkit.UsageError, match="base=.* is for a file of weights, and .* is not"):
        genkit.load(base, base=base, **HERE)
    with pytest.raises(genkit.UsageError, match="WanPipeline has no part 'unet' for wan.safetensors; it has "):
        genkit.load(base, weights=f"unet={file}", **HERE)
    with pytest.raises(genkit.UsageError, match="weights names 'the denoising model' twice"):
        genkit.load(file, base=base, weights=file, **HERE)
    with pytest.raises(genkit.UsageError, match="weights acts while a model is opened, and this pipeline is open"):
        genkit.load(WAN.build(), weights=file)


def test_a_class_that_diffusers_opens_no_file_of(tmp_path: Path) -> None:
    pipe = SMALL["CogVideoXPipeline"].build()
    pipe.save_pretrained(tmp_path / "base")
    file = file_of(pipe.transformer, tmp_path / "cog.safetensors")
    with pytest.raises(
        genkit.UsageError, match=r"diffusers opens no CogVideoXTransformer3DModel \(transformer\) from a"
    ):
        genkit.load(file, base=tmp_path / "base", **HERE)


def test_a_weight_is_for_a_lora_only(tmp_path: Path) -> None:
    file = file_of(torch.nn.Linear(1, 1), tmp_path / "a.safetensors")
    with pytest.raises(genkit.UsageError, match="only a LoRA has a weight behind a colon; remove '0.8'"):
        read_weights(f"{file}:0.8")
    assert is_weights(file) and not is_weights("tiny") and not is_weights(tmp_path)


def gguf_of(model: torch.nn.Module, path: Path) -> str:
    """A GGUF file of a model: 8 bit where a row has a multiple of 32 numbers."""
    import gguf

    eight = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(str(path), "wan")
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, eight), raw_dtype=eight)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@needs_gguf
def test_gguf_is_the_model_to_eight_bits(base: Path, tmp_path: Path) -> None:
    file = gguf_of(WAN.build().transformer, tmp_path / "wan.gguf")
    pipe = genkit.load(file, base=base, **HERE)
    expected, made = of_wan(WAN.build()), of_wan(pipe)
    assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.uint8
    assert 1e-4 < (made - expected).abs().max() < 0.05 * expected.abs().max()
    with genkit.apply(pipe, genkit.Radial(density=0.5, min_tokens=1)) as handle:
        sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
        receipt = handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes).receipt
    assert receipt.opened["weights"] == "transformer quantised by gguf"


@needs_gguf
def test_a_torn_gguf_is_one_sentence(base: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.gguf").write_bytes(b"GGUF and then nothing")
    with pytest.raises(genkit.GenkitError, match="torn.gguf' could not be opened as the WanTransformer3DModel") as said:
        genkit.load(str(tmp_path / "torn.gguf"), base=base, **HERE)
    assert "\n" not in str(said.value)


@pytest.mark.skipif(importlib.util.find_spec("gguf") is not None, reason="says what happens without gguf")
def test_without_gguf_the_package_is_named(base: Path, tmp_path: Path) -> None:
    (tmp_path / "wan.gguf").write_bytes(b"GGUF")
    with pytest.raises(genkit.UsageError, match="wan.gguf needs the package gguf; pip install .*gguf"):
        genkit.load(str(tmp_path / "wan.gguf"), base=base, **HERE)


@pytest.mark.skipif(importlib.util.find_spec("torchao") is not None, reason="says what happens without torchao")
def test_without_torchao_the_package_is_named(base: Path) -> None:
    with pytest.raises(genkit.UsageError, match="quantize='int8' needs torchao; pip install .*torchao"):
        genkit.load(base, quantize="int8", **HERE)


@needs_torchao
@pytest.mark.parametrize("kind", ["int8", "float8"])
def test_quantised_weights_are_near_and_are_quantised(kind: str, base: Path, tmp_path: Path) -> None:
    plain, pipe = of_wan(genkit.load(base, **HERE)), genkit.load(base, quantize=kind, **HERE)
    made = of_wan(pipe)
    assert type(pipe.transformer.blocks[0].attn1.to_q.weight.data).__name__ == f"{kind.capitalize()}Tensor"
    assert 0 < (made - plain).abs().max() < 0.1 * plain.abs().max()
    with genkit.apply(pipe, genkit.Radial(density=0.5, min_tokens=1)) as handle:
        sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
        receipt = handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes).receipt
    assert receipt.opened["weights"] == "transformer quantised by torchao"


@needs_torchao
def test_a_folder_that_is_quantised_already_opens_as_it_is(base: Path, tmp_path: Path) -> None:
    first = genkit.load(base, quantize="int8", **HERE)
    first.save_pretrained(tmp_path / "quantised")
    again = genkit.load(tmp_path / "quantised", **HERE)
    assert type(again.transformer.blocks[0].attn1.to_q.weight.data).__name__ == "Int8Tensor"
    torch.testing.assert_close(of_wan(again), of_wan(first), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["int3", 8, True])
def test_an_unknown_kind_is_refused(kind: Any, base: Path) -> None:
    with pytest.raises(genkit.UsageError, match="quantize=.* is unknown"):
        genkit.load(base, quantize=kind, **HERE)
