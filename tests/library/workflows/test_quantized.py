"""Quantized weights through diffusers' own configurations: plug-ins work on them as on stock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import nn
from workflows import PIPELINES, applied, build, expected, model, routed_videos, video

Open = Callable[[nn.Module, Path], Any]
"""Opens a saved model with quantized weights; skips where the package is missing."""


def with_torchao(own: nn.Module, folder: Path) -> Any:
    """Open int8 weights of torchao."""
    quantization = pytest.importorskip("torchao.quantization", reason="pip install '.[quantize]'")
    return pretrained(own, folder, diffusers.TorchAoConfig(quantization.Int8WeightOnlyConfig()))


def with_quanto(own: nn.Module, folder: Path) -> Any:
    """Open int8 weights of optimum-quanto."""
    pytest.importorskip("optimum.quanto", reason="pip install optimum-quanto")
    return pretrained(own, folder, diffusers.QuantoConfig(weights_dtype="int8"))


def with_gguf(own: nn.Module, folder: Path) -> Any:
    """Open a GGUF file with blocks of 8 bits."""
    gguf = pytest.importorskip("gguf", reason="pip install '.[gguf]'")
    write_gguf(gguf, own, folder / "model.gguf")
    own.save_config(folder)
    config = diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32)
    given = {"config": str(folder), "quantization_config": config, "torch_dtype": torch.float32}
    return type(own).from_single_file(str(folder / "model.gguf"), **given)


def pretrained(own: nn.Module, folder: Path, config: Any) -> Any:
    """Save a model and open it with a configuration of quantization."""
    own.save_pretrained(folder)
    return type(own).from_pretrained(folder, quantization_config=config, torch_dtype=torch.float32)


def write_gguf(gguf: Any, own: nn.Module, file: Path) -> None:
    """Write the matrices of the attention layers in 8 bits, and everything else as it is."""
    writer, kind = gguf.GGUFWriter(str(file), "video"), gguf.GGMLQuantizationType.Q8_0
    for name, tensor in own.state_dict().items():
        values = tensor.detach().float().contiguous().numpy()
        if values.ndim == 2 and "attn" in name and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


OPENED: dict[str, Open] = {"torchao": with_torchao, "quanto": with_quanto, "gguf": with_gguf}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("how", OPENED)
def test_plug_ins_work_on_quantized_weights(how: str, name: str, tmp_path: Path) -> None:
    pipe = build(name)
    pipe.transformer = OPENED[how](model(pipe), tmp_path)
    plain = video(name, pipe)
    assert 0 < (plain - expected(name, "nothing")).abs().max() < 0.1, "the weights are those of the file, in 8 bits"
    with applied(pipe, "nothing") as handle:
        assert torch.equal(routed_videos(handle, name, 1)[0], plain)
    for plugins in ("sparse", "noise and positions"):
        with applied(pipe, plugins) as handle:
            first, second = routed_videos(handle, name, 2)
            assert torch.equal(first, second) and not torch.equal(first, plain)
            assert (first - expected(name, plugins)).abs().max() < 0.1
        assert torch.equal(video(name, pipe), plain)
