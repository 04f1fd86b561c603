"""Offloading before and inside ``apply``: three videos in a row, each as without it, and every layer routed in each."""

from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from workflows import FURTHER, PIPELINES, PLUGINS, Change, build, check_change, expected, model

import genkit

CPU = torch.device("cpu")


def sequential(pipe: Any) -> None:
    """Offload the denoiser layer by layer; accelerate cannot do it to these text encoders on a CPU."""
    denoiser = model(pipe)
    accelerate.cpu_offload(denoiser, CPU, offload_buffers=len(denoiser._parameters) > 0)


OFFLOADS: dict[str, Change] = {
    "model": lambda pipe: pipe.enable_model_cpu_offload(device="cpu"),
    "sequential": sequential,
    "group by leaf": lambda pipe: pipe.enable_group_offload(onload_device=CPU, offload_type="leaf_level"),
    "group by block": lambda pipe: pipe.enable_group_offload(
        onload_device=CPU, offload_type="block_level", num_blocks_per_group=1
    ),
    "group of two blocks": lambda pipe: model(pipe).enable_group_offload(
        onload_device=CPU, offload_type="block_level", num_blocks_per_group=2
    ),
}


@pytest.mark.parametrize("plugins", PLUGINS)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("offload", OFFLOADS)
def test_three_videos_are_as_without_offload(offload: str, name: str, plugins: str) -> None:
    assert torch.equal(check_change(name, plugins, OFFLOADS[offload]), expected(name, plugins))


@pytest.mark.parametrize("name", FURTHER)
@pytest.mark.parametrize("offload", ["group by block"])
def test_further_families_too(offload: str, name: str) -> None:
    assert torch.equal(check_change(name, "nothing", OFFLOADS[offload]), expected(name, "nothing"))


def test_groups_on_disk_are_as_in_memory(tmp_path: Path) -> None:
    """To rounding, as in stock: products of weights that a file begins at an odd place are summed in another order."""

    def to_disk(pipe: Any) -> None:
        model(pipe).enable_group_offload(CPU, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))

    made = check_change("wan", "sparse", to_disk)
    torch.testing.assert_close(made, expected("wan", "sparse"), rtol=1e-4, atol=1e-4)


def test_the_receipt_of_each_video_has_all_its_calls() -> None:
    pipe = build("wan")
    OFFLOADS["model"](pipe)
    with genkit.apply(pipe) as handle:
        for _ in range(3):
            pipe(prompt="a red circle", num_frames=17, height=48, width=64, num_inference_steps=1, output_type="latent")
        counted = [receipt.attention for receipt in handle.receipts]
    assert len(counted) == 3 and counted[0] == counted[1] == counted[2]
