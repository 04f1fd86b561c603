"""A saved modular pipeline opens without a network, and computes as before."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_pipelines import MODULAR
from torch import Tensor

import genkit
from genkit.opening.modular import INDEX, open_modular
from genkit.opening.stored import place

WAN = MODULAR["WanModularPipeline"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a small pipeline, and its video."""
    folder, pipe = tmp_path_factory.mktemp("modular") / "wan", WAN.build()
    pipe.save_pretrained(str(folder), overwrite_modular_index=True)
    return folder, WAN.video(pipe)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def same(video: Tensor, other: Tensor) -> bool:
    """Equal but for the rounding of kernels, which depends on where in memory the weights are."""
    return bool((video - other).abs().max() <= 1e-4 * other.abs().max())


def test_a_folder_opens_as_the_pipeline_that_was_saved(saved: tuple[Path, Any]) -> None:
    folder, video = saved
    pipe = genkit.load(folder, device="cpu")
    assert type(pipe).__name__ == "WanModularPipeline" and not pipe.null_component_names
    assert same(WAN.video(pipe), video)
    with genkit.apply(pipe) as handle:
        made = handle.generate("a red circle", num_frames=17, height=48, width=64, num_inference_steps=2, seed=7)
    assert made.request["model"] == str(folder) and len(made.frames) == 17


def test_precision_is_as_asked(saved: tuple[Path, Any]) -> None:
    assert genkit.load(saved[0], device="cpu", dtype="bfloat16").transformer.dtype == torch.bfloat16


def test_a_folder_that_was_moved_opens_its_own_parts(saved: tuple[Path, Any], tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    saved[0].rename(moved)
    try:
        assert same(WAN.video(genkit.load(moved, device="cpu")), saved[1])
    finally:
        moved.rename(saved[0])


def changed(folder: Path, to: Path, **values: Any) -> Path:
    """A folder with another index, and the other files of the first."""
    to.mkdir()
    for part in folder.iterdir():
        (to / part.name).symlink_to(part)
    (to / INDEX).unlink()
    (to / INDEX).write_text(json.dumps(json.loads((folder / INDEX).read_text()) | values))
    return to


def test_a_missing_part_is_named(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder = changed(saved[0], tmp_path / "less")
    (folder / "vae").unlink()
    index = json.loads((folder / INDEX).read_text())
    index["vae"][2]["pretrained_model_name_or_path"] = str(folder)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(genkit.GenkitError, match="its vae cannot be opened"):
        genkit.load(folder, device="cpu")


def test_an_unknown_family_is_refused_by_its_index_alone(saved: tuple[Path, Any], tmp_path: Path) -> None:
    other = {"_class_name": "FluxModularPipeline", "transformer": ["diffusers", "FluxTransformer2DModel", {}]}
    with pytest.raises(genkit.UsageError, match="nothing is known of FluxModularPipeline"):
        genkit.load(changed(saved[0], tmp_path / "flux", **other), device="cpu")


def test_code_in_a_folder_is_not_run(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder = changed(saved[0], tmp_path / "code")
    (folder / "modular_config.json").write_text(json.dumps({"auto_map": {"ModularPipelineBlocks": "block.Blocks"}}))
    (folder / "block.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(genkit.GenkitError, match="trust_remote_code|custom code"):
        genkit.load(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_wishes_that_only_other_pipelines_fulfil_are_refused(saved: tuple[Path, Any]) -> None:
    with pytest.raises(genkit.UsageError, match="quantize is for pipelines that are not modular"):
        open_modular(str(saved[0]), torch.float32, {"weights": (), "quantize": "int8"})
    with pytest.raises(genkit.UsageError, match="offload='group': WanModularPipeline is modular and has no offload"):
        place(WAN.build(), "group", "cuda", move=True)
