"""LoRA files: what they do to the weights, and every kind that does not fit."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_pipelines import SMALL
from torch import Tensor, nn

import genkit
from genkit.opening.files import NamedFile, read_loras
from genkit.opening.stated import rows_of

pytest.importorskip("peft")

WAN = SMALL["WanPipeline"]
Tensors = dict[str, Tensor]


def lora_of(model: nn.Module, within: str = "attn1", prefix: str = "transformer", seed: int = 0) -> Tensors:
    """A random LoRA of rank 3 for every linear layer whose name contains ``within``."""
    draw = torch.Generator().manual_seed(seed)
    found: Tensors = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and within in name:
            found[f"{prefix}.{name}.lora_A.weight"] = torch.randn(3, layer.in_features, generator=draw) / 4
            found[f"{prefix}.{name}.lora_B.weight"] = torch.randn(layer.out_features, 3, generator=draw) / 4
    return found


@torch.no_grad()
def merge_by_hand(model: nn.Module, tensors: Tensors, weight: float, prefix: str = "transformer") -> None:
    for name, layer in model.named_modules():
        if f"{prefix}.{name}.lora_A.weight" in tensors:
            first, second = (tensors[f"{prefix}.{name}.lora_{letter}.weight"] for letter in "AB")
            layer.weight += weight * second @ first


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, Tensors], str]:
    def write(name: str, tensors: Tensors) -> str:
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, tmp_path / name)
        return str(tmp_path / name)

    return write


def video(pipe: Any) -> Tensor:
    pipe.set_progress_bar_config(disable=True)
    return WAN.video(pipe)


def test_a_lora_is_added_to_the_weights_with_its_factor(save: Any) -> None:
    first, second = lora_of(WAN.build().transformer), lora_of(WAN.build().transformer, "ffn", seed=1)
    files = [save("style.safetensors", first) + ":0.7", save("motion.safetensors", second)]
    by_hand = WAN.build()
    merge_by_hand(by_hand.transformer, first, 0.7)
    merge_by_hand(by_hand.transformer, second, 1)
    plain, made, expected = video(WAN.build()), video(genkit.load(WAN.build(), lora=files)), video(by_hand)
    assert (expected - plain).abs().max() > 0.01
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-5)


FAMILIES = {
    "LTXPipeline": ("attn1", "transformer"),
    "HunyuanVideoPipeline": ("attn", "transformer"),
    "CogVideoXPipeline": ("attn1", "transformer"),
    "AnimateDiffPipeline": ("attn1", "unet"),
}
"""Pipelines, each with layers of its LoRA and the part that they are in."""


@pytest.mark.parametrize("name", FAMILIES)
def test_other_families_too(name: str, save: Any) -> None:
    small, (within, part) = SMALL[name], FAMILIES[name]
    tensors = lora_of(getattr(small.build(), part), within, part)
    by_hand, pipe = small.build(), genkit.load(small.build(), lora=save("a.safetensors", tensors) + ":0.7")
    merge_by_hand(getattr(by_hand, part), tensors, 0.7, part)
    plain, made, expected = (small.video(each) for each in (small.build(), pipe, by_hand))
    span = expected.abs().max()
    assert (expected - plain).abs().max() > 0.01 * span
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-5 * float(span))


def test_a_factor_of_zero_changes_nothing_and_unloading_is_exact(save: Any) -> None:
    file, plain = save("style.safetensors", lora_of(WAN.build().transformer)), video(WAN.build())
    pipe = genkit.load(WAN.build(), lora=f"{file}:0")
    assert torch.equal(video(pipe), plain)
    pipe.unload_lora_weights()
    assert torch.equal(video(pipe), plain) and "lora" not in rows_of(pipe)


def test_names_of_other_trainers_are_diffusers_business(save: Any) -> None:
    """Wan's own names, as most LoRA files have them."""
    layers = lora_of(WAN.build().transformer, "attn1.to_q", "diffusion_model")
    layers |= lora_of(WAN.build().transformer, "attn1.to_k", "diffusion_model", seed=1)
    names = {"attn1.to_q": "self_attn.q", "attn1.to_k": "self_attn.k"}
    theirs = layers
    for ours, own in names.items():
        theirs = {key.replace(ours, own): tensor for key, tensor in theirs.items()}
    by_hand = WAN.build()
    merge_by_hand(by_hand.transformer, layers, 1, "diffusion_model")
    made = genkit.load(WAN.build(), lora=save("theirs.safetensors", theirs))
    torch.testing.assert_close(video(made), video(by_hand), rtol=0, atol=2e-5)


def test_the_second_expert_has_a_lora_of_its_own(save: Any) -> None:
    small = SMALL["WanPipeline-2.2"]
    tensors = lora_of(small.build().transformer_2)
    file = save("low.safetensors", tensors)
    pipe, by_hand = genkit.load(small.build(), lora=[f"transformer_2={file}:0.5"]), small.build()
    merge_by_hand(by_hand.transformer_2, tensors, 0.5)
    assert not hasattr(pipe.transformer, "peft_config") and hasattr(pipe.transformer_2, "peft_config")
    torch.testing.assert_close(small.video(pipe), small.video(by_hand), rtol=0, atol=2e-5)


def test_receipt_and_recipe_name_file_factor_and_hash(save: Any) -> None:
    file = save("style.safetensors", lora_of(WAN.build().transformer))
    pipe = genkit.load(WAN.build(), lora=[f"{file}:0.7"])
    with genkit.apply(pipe) as handle:
        sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
        made = handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    assert made.receipt.opened["lora"] == f"style.safetensors at 0.7 (sha256 {digest})"
    assert "lora: style.safetensors at 0.7" in str(made.receipt)
    assert made.request["lora"] == [f"{file}:0.7"]
    assert genkit.Request.model_validate(made.request).lora == (f"{file}:0.7",)


def wider(tensors: Tensors) -> Tensors:
    return {key: torch.cat([each, each], 1) if "lora_A" in key else each for key, each in tensors.items()}


def deeper(tensors: Tensors) -> Tensors:
    return tensors | {key.replace("blocks.", "blocks.7"): each for key, each in tensors.items()}


def of_another_family(tensors: Tensors) -> Tensors:
    return {key.replace(".blocks.", ".transformer_blocks."): each for key, each in tensors.items()}


OTHERS = {
    wider: r"\d+ of its 12 layers are of other shapes \(.*attn1.to_\w+ takes 64 channels, not 128\)",
    deeper: r"lacks 12 of the 24 layers in it \(transformer.blocks.70.attn1.to_k, .*\.\.\.\)",
    of_another_family: r"lacks 12 of the 12 layers in it \(transformer.transformer_blocks.0.attn1.to_k",
}


@pytest.mark.parametrize("change", OTHERS)
def test_a_lora_for_another_model_is_refused_before_anything_is_loaded(change: Any, save: Any) -> None:
    right = save("right.safetensors", lora_of(WAN.build().transformer))
    wrong = save("wrong.safetensors", change(lora_of(WAN.build().transformer)))
    pipe = WAN.build()
    with pytest.raises(genkit.UsageError, match=OTHERS[change]) as refused:
        genkit.load(pipe, lora=[right, wrong])
    assert "wrong.safetensors is a LoRA for another model than WanPipeline" in str(refused.value)
    assert "\n" not in str(refused.value) and not hasattr(pipe.transformer, "peft_config")
    assert torch.equal(video(pipe), video(WAN.build()))


def test_a_few_layers_without_a_place_are_a_note_in_the_receipt(save: Any) -> None:
    tensors = lora_of(WAN.build().transformer)
    first = {key: each for key, each in tensors.items() if "blocks.0.attn1.to_q" in key}
    absent = {key.replace("blocks.0", "blocks.9"): each for key, each in first.items()}
    file = save("more.safetensors", tensors | absent)
    pipe = genkit.load(WAN.build(), lora=file)
    with genkit.apply(pipe) as handle:
        sizes = {name: WAN.call[name] for name in ("num_frames", "height", "width", "num_inference_steps")}
        made = handle.generate("a red circle moves right", seed=1, fps=8, max_sequence_length=16, **sizes)
        WAN.video(pipe)
    sentence = "1 of the 13 layers of more.safetensors have no place in the model: transformer.blocks.9.attn1.to_q"
    assert sentence in made.receipt.notes
    direct = handle.receipts[-1]
    assert direct.seed is None and sentence in direct.notes and "more.safetensors at 1" in direct.opened["lora"]


def test_what_is_not_a_lora_says_so(save: Any, tmp_path: Path) -> None:
    whole = save("whole.safetensors", dict(WAN.build().transformer.named_parameters()))
    with pytest.raises(genkit.UsageError, match=r"lacks \d+ of the \d+ layers"):
        genkit.load(WAN.build(), lora=whole)
    (tmp_path / "torn.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(genkit.UsageError, match="torn.safetensors' cannot be read as a LoRA of WanPipeline"):
        genkit.load(WAN.build(), lora=str(tmp_path / "torn.safetensors"))


def test_a_pipeline_without_a_loader_says_so(save: Any) -> None:
    small = SMALL["AllegroPipeline"]
    file = save("a.safetensors", lora_of(WAN.build().transformer))
    with pytest.raises(genkit.UsageError, match="diffusers has no loader of LoRA for AllegroPipeline"):
        genkit.load(small.build(), lora=file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}:much", "the weight 'much' is not a number"),
        ("{}:nan", "the weight 'nan' is not a number"),
        ("{}:", "the weight '' is not a number"),
        ("{}x", "must end in .safetensors"),
        ("style", "lora='style' is not a file of weights; write FILE.safetensors"),
        ("C:\\loras\\style.safetensors:0.5", r"there is no such file"),
        ("D:\\v1.5\\style.safetensors", r"there is no such file"),
        ("style.ckpt:0.5", "may run code when it is opened; convert it to .safetensors"),
        ("nowhere.safetensors", "there is no such file"),
    ],
)
def test_a_wrong_text_is_one_sentence(text: str, message: str, save: Any) -> None:
    with pytest.raises(genkit.UsageError, match=message) as refused:
        read_loras(text.format(save("a.safetensors", {"a": torch.zeros(1)})))
    assert "\n" not in str(refused.value)


def test_paths_of_windows_keep_their_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    assert read_loras("C:\\v1.5\\a.safetensors:0.8") == (NamedFile(Path("C:\\v1.5\\a.safetensors"), None, 0.8),)
    assert read_loras(["transformer_2=C:\\a.safetensors"]) == (NamedFile(Path("C:\\a.safetensors"), "transformer_2"),)


def test_the_same_file_twice_and_a_part_that_takes_none(save: Any) -> None:
    file = save("a.safetensors", lora_of(WAN.build().transformer))
    with pytest.raises(genkit.UsageError, match="lora names '.* twice; give one file"):
        genkit.load(WAN.build(), lora=[file, f"{file}:0.5"])
    with pytest.raises(genkit.UsageError, match="WanPipeline takes a LoRA in transformer; write one of these"):
        genkit.load(WAN.build(), lora=f"vae={file}")
