"""The comparison of `make parity`: it passes equal sides, and every mistake that it knows makes it fail.

The official code is not needed here: an honest run with small networks stands in for its side.
"""

import ast
import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genkit.benchmarks.networks import borrowed, raft
from genkit.benchmarks.networks.weight_files import Backbone
from genkit.benchmarks.parity import __main__ as parity
from genkit.benchmarks.parity import functions
from genkit.benchmarks.parity import ours as parity_ours
from genkit.benchmarks.parity.clips import CLIPS, write_clips
from genkit.benchmarks.parity.compare import compare, largest
from genkit.benchmarks.parity.mistakes import MISTAKES, Mistake
from genkit.errors import GenkitError

SIDE = {
    "temporal_flickering": {"aggregate": 0.9, "videos": {"a.mp4": 0.8, "b.mp4": 1.0}},
    "subject_consistency": {"aggregate": 0.7, "videos": {"a.mp4": 0.6, "b.mp4": 0.75}},
    "dynamic_degree": {
        "aggregate": 0.5,
        "videos": {"a.mp4": True, "b.mp4": False},
        "curves": {"a.mp4": [4.0, 5.0], "b.mp4": []},
    },
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """A copy of SIDE with one value replaced."""
    side = copy.deepcopy(SIDE)
    place: Any = side
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return side


def failed(ours: Any) -> set[str]:
    return {f"{item.dimension} {item.what}" for item in compare(SIDE, ours) if not item.passes}


def test_equal_sides_pass() -> None:
    differences = compare(SIDE, copy.deepcopy(SIDE))
    assert len(differences) == 11 and all(item.passes and item.size == 0 for item in differences)


@pytest.mark.parametrize(
    "path, right, allowed",
    [
        (("temporal_flickering", "aggregate"), 0.9, 1e-6),
        (("temporal_flickering", "videos", "a.mp4"), 0.8, 1e-6),
        (("subject_consistency", "aggregate"), 0.7, 1e-6),
        (("subject_consistency", "videos", "a.mp4"), 0.6, 1e-5),
        (("dynamic_degree", "curves", "a.mp4", 1), 5.0, 1e-5),
    ],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_each_number_has_its_tolerance(path: Any, right: float, allowed: float, sign: int) -> None:
    assert failed(changed(*path, to=right + sign * 0.9 * allowed)) == set()
    assert len(failed(changed(*path, to=right + sign * 1.1 * allowed))) == 1


@pytest.mark.parametrize(
    "ours, what",
    [
        (changed("dynamic_degree", "videos", "a.mp4", to=False), "dynamic_degree a.mp4"),
        (changed("dynamic_degree", "videos", "a.mp4", to=1.0), "dynamic_degree a.mp4"),
        (changed("subject_consistency", "videos", "a.mp4", to=math.nan), "subject_consistency a.mp4"),
        (changed("subject_consistency", "aggregate", to=None), "subject_consistency aggregate"),
        (changed("subject_consistency", "videos", "c.mp4", to=0.5), "subject_consistency c.mp4"),
        (changed("subject_consistency", "videos", to={"a.mp4": 0.6}), "subject_consistency b.mp4"),
        (changed("dynamic_degree", "curves", "a.mp4", to=[4.0]), "dynamic_degree a.mp4[1]"),
        (changed("imaging_quality", to={"aggregate": 0.5, "videos": {}}), "imaging_quality aggregate"),
    ],
)
def test_what_cannot_be_compared_fails(ours: Any, what: str) -> None:
    assert failed(ours) == {what}
    assert largest(compare(SIDE, ours), what.split()[0], aggregate=what.endswith("aggregate")) == math.inf


def test_a_dimension_that_neither_side_has_fails() -> None:
    assert [item.passes for item in compare(SIDE, SIDE, ["scene"])] == [False]


class Middle(nn.Module):
    """In place of AMT: the mean of both frames, with the signature that the suite calls."""

    def forward(self, a: Tensor, b: Tensor, when: Tensor, *, scale_factor: float, eval: bool) -> dict[str, Tensor]:
        return {"imgt_pred": 0.51 * a + 0.49 * b}


class Still(nn.Module):
    """In place of RAFT: nothing moves."""

    def forward(self, a: Tensor, b: Tensor, *, num_flow_updates: int) -> list[Tensor]:
        return [torch.zeros(1, 2, *a.shape[2:])]


def small_dino(width: int = 64) -> dict[str, Tensor]:
    """One layer under the names of DINO's own checkpoint."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "blocks.0.attn.qkv.weight": (3 * width, width),
        "blocks.0.attn.qkv.bias": (3 * width,),
        "blocks.0.attn.proj.weight": (width, width),
        "blocks.0.attn.proj.bias": (width,),
        "blocks.0.mlp.fc1.weight": (4 * width, width),
        "blocks.0.mlp.fc1.bias": (4 * width,),
        "blocks.0.mlp.fc2.weight": (width, 4 * width),
        "blocks.0.mlp.fc2.bias": (width,),
    }
    norms = {f"{norm}.{kind}": (width,) for norm in ("norm", "blocks.0.norm1", "blocks.0.norm2") for kind in KINDS}
    return drawn(shapes | norms)


def small_clip(width: int = 64) -> dict[str, Tensor]:
    """One layer of an image tower under the names of OpenAI's archive."""
    block = "visual.transformer.resblocks.0"
    shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (50, width),
        "visual.conv1.weight": (width, 3, 32, 32),
        "visual.proj": (width, 32),
        f"{block}.attn.in_proj_weight": (3 * width, width),
        f"{block}.attn.in_proj_bias": (3 * width,),
        f"{block}.attn.out_proj.weight": (width, width),
        f"{block}.attn.out_proj.bias": (width,),
        f"{block}.mlp.c_fc.weight": (4 * width, width),
        f"{block}.mlp.c_fc.bias": (4 * width,),
        f"{block}.mlp.c_proj.weight": (width, 4 * width),
        f"{block}.mlp.c_proj.bias": (width,),
    }
    norms = ("visual.ln_pre", "visual.ln_post", f"{block}.ln_1", f"{block}.ln_2")
    return drawn(shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in KINDS})


KINDS = ("weight", "bias")


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights that more than keep the size of their inputs, so that small causes show."""
    random = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return {name: 2 * t * t[0].numel() ** -0.5 if is_map(name, t) else t for name, t in tensors.items()}


def is_map(name: str, tensor: Tensor) -> bool:
    return tensor.ndim > 1 and name.endswith(("weight", "proj"))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the official process leaves, with small networks; two of them are none at all."""
    work = tmp_path_factory.mktemp("parity")
    write_clips(work / "clips")
    (work / "weights").mkdir()
    for name, state in {"dino.pth": small_dino(), "clip.pt": small_clip()}.items():
        torch.save(state, work / "weights" / name)
    for name in ("amt-s.pth", "raft-things.pth"):
        torch.save({"unused": torch.zeros(1)}, work / "weights" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "missing_packages", lambda self: [])
        patch.setattr(borrowed, "amt", lambda state: Middle())
        patch.setattr(raft, "raft", lambda state: Still())
        yield work


@pytest.fixture(scope="module")
def honest(work: Path) -> dict[str, Any]:
    return parity_ours.measure(work, work / "honest")


def test_an_honest_run_repeats_itself(work: Path, honest: dict[str, Any]) -> None:
    assert all(item.passes for item in compare(honest, parity_ours.measure(work, work / "again")))
    assert honest.keys() == set(parity_ours.DIMENSIONS)
    assert all(side["videos"].keys() == {clip.name for clip in CLIPS} for side in honest.values())


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.about)
def test_each_mistake_is_noticed_where_it_is_made(work: Path, honest: dict[str, Any], mistake: Mistake) -> None:
    before = [vars(owner)[name] for owner, name, _ in mistake.changes]
    wrong = parity_ours.measure_with(mistake, work, work / "honest", work / "mistake")
    assert {item.dimension for item in compare(honest, wrong) if not item.passes} == set(mistake.dimensions)
    assert [vars(owner)[name] for owner, name, _ in mistake.changes] == before


def test_a_clip_that_cannot_be_measured_is_an_error(work: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").symlink_to(work / "weights")
    write_clips(tmp_path / "clips")
    (tmp_path / "clips" / "wide.mp4").write_bytes(b"no video")
    with pytest.raises(GenkitError, match="clip of the parity check could not be measured: .*wide.mp4"):
        parity_ours.measure(tmp_path, tmp_path / "run")


@pytest.fixture(scope="module")
def outputs() -> functions.Outputs:
    return functions.outputs(functions.draw_inputs())


def test_the_functions_are_defined_on_all_cases(outputs: functions.Outputs) -> None:
    worst = functions.worst(outputs, functions.outputs(functions.draw_inputs()))
    assert len(worst) == 9 and set(worst.values()) == {0.0}
    assert {bool(answer) for answer in outputs["moves"]} == {True, False}


def slightly_more(case: Tensor) -> Tensor:
    return case + 3e-6 * case.abs().max().clamp_min(1)


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("moves", torch.logical_not),
        ("every_8th", lambda case: case[:-1]),
        ("cut", lambda case: case ^ 1),
        ("clip_224", slightly_more),
        ("flicker", slightly_more),
        ("speed", lambda case: case * math.nan),
    ],
)
def test_one_wrong_case_of_a_function_fails(outputs: functions.Outputs, name: str, wrong: Any) -> None:
    cases = [*outputs[name][:-1], wrong(outputs[name][-1])]
    worst = functions.worst(outputs, outputs | {name: cases})
    assert [other for other, size in worst.items() if not functions.passes(size)] == [name]
    assert not functions.passes(functions.worst(outputs, outputs | {name: cases[:-1]})[name])


def report(passes: bool) -> dict[str, Any]:
    found = {
        "by_video": 1e-8,
        "aggregate": 0.0 if passes else "unequal",
        "official": 0.5,
        "fixed": 0.4,
        "fixed_effect": "",
    }
    return {
        "passes": passes,
        "versions": {"official": {"vbench": "0.1.5"}},
        "dimensions": {"dynamic_degree": found | {"passes": passes}},
        "functions": {"moves": {"largest": 0.0, "passes": True}},
        "mistakes": [{"about": "last frame dropped", "caught": passes, "largest": {"dynamic_degree": "unequal"}}],
    }


@pytest.mark.parametrize("passes", [True, False])
def test_the_exit_code_and_the_table_say_how_it_went(
    passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parity, "check", lambda environment, work: report(passes))
    assert parity.main(["environment", "--out", str(tmp_path / "result.json")]) == (not passes)
    assert json.loads((tmp_path / "result.json").read_text()) == report(passes)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"parity with vbench 0.1.5: {'PASS' if passes else 'FAIL'}"
    assert any(line.startswith("dynamic_degree") and ("unequal" in line) != passes for line in lines)
    assert any(line.startswith("last frame") and ("NOT CAUGHT" in line) != passes for line in lines)


@pytest.mark.parametrize("name", ["official.py", "official_functions.py"])
def test_the_official_side_imports_no_genkit(name: str) -> None:
    tree = ast.parse((parity.HERE / name).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {getattr(node, "module", None) or alias.name for node in imports for alias in node.names}
    assert imports and not [name for name in names if name.partition(".")[0] == "genkit"]
