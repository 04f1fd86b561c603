"""The probe: what it measures, that the run stays dense, and that a budget does what the probe said."""

import json
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import torch
from torch import Tensor

import genkit
from genkit.apps.cli import main
from genkit.apps.commands.probe import table
from genkit.attention.planners.radial import RadialPlanner
from genkit.attention.planning.measure import RecallRecorder, measure
from genkit.attention.planning.probe import ProbingPlanner, Sample
from genkit.benchmarks.drawing.canvas import Box, Word
from genkit.benchmarks.drawing.heat_map import GAIN, LOSS
from genkit.benchmarks.drawing.probe_picture import picture
from genkit.plugins.budget import load_budget
from genkit.plugins.catalogue import text_of
from genkit.plugins.longer.freenoise import FreeNoise
from genkit.plugins.sparse.radial import Radial
from genkit.probing.probe import Probe, Probing, _check_finite

SMALL: dict[str, Any] = {"num_frames": 33, "height": 48, "width": 64, "max_sequence_length": 16, "guidance_scale": 5.0}
LEVELS = [{"density": density} for density in (0.3, 0.4, 0.7, 1.0)]
LAYERS = ["transformer.blocks.1.attn1", "transformer.blocks.2.attn1"]


def radial(**change: Any) -> Radial:
    """Of three steps the first is dense, and of three layers the first."""
    return Radial(**({"min_tokens": 1, "block": 4, "first_frame": False, "dense_steps": 0.3} | change))


@pytest.fixture(scope="module")
def wan() -> Any:
    """Three layers; random weights attend to everything alike, so the later ones are made to choose."""
    pipe = families.FAMILIES["wan"]()
    with torch.no_grad():
        for sharpness, block in enumerate(pipe.transformer.blocks):
            block.attn1.norm_q.weight.fill_(1.0 + 2 * sharpness)
    return pipe


@pytest.fixture(scope="module")
def found(wan: Any) -> Probe:
    return genkit.probe(wan, radial(), prompt="a red circle", levels=LEVELS, num_inference_steps=3, seed=3, **SMALL)


def test_a_probe_measures_what_would_be_sparse(found: Probe) -> None:
    """Two sparse steps of two sparse layers, both branches, four levels; two heads."""
    places = {(s.layer, s.step, s.branch, s.level) for s in found.samples}
    assert len(places) == len(found.samples) == 2 * 2 * 2 * 4
    assert {place[0] for place in places} == set(LAYERS) and {place[1] for place in places} == {1, 2}
    assert {place[2] for place in places} == {"cond", "uncond"}
    assert all(len(sample.recall) == len(sample.error) == 2 for sample in found.samples)
    for outcomes in found.outcomes().values():
        recalls, errors = ([getattr(one, name) for one in outcomes] for name in ("recall", "error"))
        assert recalls == sorted(recalls) and errors == sorted(errors, reverse=True)
        assert outcomes[-1].density == 1 and recalls[-1] == pytest.approx(1, abs=1e-5) and errors[-1] < 1e-5
    assert found.facts["seeds"] == [3] and found.facts["prompts"] == ["a red circle"] and found.facts["frames"] == 33
    assert found.facts["plugins"] == [text_of(radial())]


def test_the_run_is_dense_bit_for_bit_and_touches_no_random_numbers(wan: Any) -> None:
    given = SMALL | {"num_inference_steps": 2, "seed": 3}
    plain = genkit.generate(wan, "a red circle", **given)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    measured: list[ProbingPlanner] = []
    probing: Any = Probing(plugin=radial(recall=0.99), levels=({"density": 0.4},), measured=measured)
    with genkit.apply(wan, probing) as handle:
        video = handle.generate("a red circle", **given)
    assert np.array_equal(video.frames, plain.frames)
    assert len(list(measured[0].samples())) == 4
    assert torch.equal(torch.get_rng_state(), before)


def test_a_budget_keeps_its_word(wan: Any, found: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The densities of the receipt are the file's, and the recall measured in the sparse run itself is the target's."""
    target = max(outcomes[1].recall for outcomes in found.outcomes().values())
    budget = found.budget(recall=target)
    path = budget.save(tmp_path / "budget.json")
    recalls: dict[str, list[float]] = {}
    real = RadialPlanner.attend

    def attend(self: RadialPlanner, q: Tensor, k: Tensor, v: Tensor, here: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(here, RecallRecorder):
            seen = measure(self, q, k, v, here)
            recalls.setdefault(f"{here.call.model}.{here.call.layer}", []).append(float(seen.recall.min()))
        return real(self, q, k, v, here)

    monkeypatch.setattr(RadialPlanner, "attend", attend)
    with genkit.apply(wan, radial(budget=str(path))) as handle:
        receipt = handle.generate("a red circle", num_inference_steps=3, seed=3, **SMALL).receipt
    assert receipt is not None
    told, file = receipt.attention.densities["radial"], budget.measured["layers"]
    each = [file[layer]["density"] for layer in LAYERS]
    assert each[0] != each[1], "the layers must differ, or the test says little"
    assert (told.min, told.max) == pytest.approx((min(each), max(each)), abs=1e-5)
    assert told.mean == pytest.approx(budget.measured["mean_density"], abs=1e-5) and told.calls == 8
    for layer in LAYERS:
        assert min(file[layer]["recall"]) >= target - 1e-5 and len(recalls[layer]) == 4
        assert min(recalls[layer]) >= target - 0.02, "later calls see what earlier ones left out, and differ a little"
    level = found.levels.index(dict(budget.layers[LAYERS[0]]))
    first = [min(sample.recall) for sample in found.at(LAYERS[0], level) if sample.step == 1]
    assert recalls[LAYERS[0]][:2] == pytest.approx(first, abs=1e-5), "nothing was left out before these"


def test_a_layer_that_is_not_in_the_budget_keeps_its_setting_and_is_noted(
    wan: Any, found: Probe, tmp_path: Path
) -> None:
    data = json.loads(found.budget(recall=1.0).to_json())
    del data["layers"][LAYERS[1]]
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(data))
    plugin = radial(density=0.7, dense_steps=0.0, budget=str(path))
    given = SMALL | {"num_inference_steps": 1, "guidance_scale": 1.0}
    with genkit.apply(wan, plugin) as handle:
        receipt = handle.generate("a red circle", seed=3, **given).receipt
    assert receipt is not None
    told = receipt.attention.densities["radial"]
    assert (told.min, told.max) == (pytest.approx(0.7, abs=0.05), 1)
    assert [note for note in receipt.notes if f"the budget has no entry for {LAYERS[1]}" in note]


def test_what_a_file_says_of_its_measurement(found: Probe) -> None:
    said = json.loads(found.budget(density=0.7).to_json())["measured"]
    assert said["target"] == {"density": 0.7} and said["mean_density"] <= 0.7 and said["notes"] == []
    assert said["steps"] == 3 and said["model"] and said["versions"]["torch"] == torch.__version__
    for layer in LAYERS:
        level = found.levels.index(dict(found.budget(density=0.7).layers[layer]))
        heads = [[sample.recall[head] for sample in found.at(layer, level)] for head in (0, 1)]
        assert said["layers"][layer]["recall"] == [round(min(head), 6) for head in heads]


def test_what_cannot_be_reached_is_said(found: Probe) -> None:
    sparse = Probe(
        method="radial",
        levels=found.levels,
        samples=tuple(sample for sample in found.samples if sample.level < 2),
        steps=3,
        facts=found.facts,
    )
    budget = sparse.budget(recall=1.0)
    assert dict(budget.layers) == {layer: {"density": 0.4} for layer in LAYERS}
    (note,) = budget.measured["notes"]
    assert note.startswith("2 of 2 layers keep less than recall=1.0 at every level and got their best: transformer.b")
    budget = sparse.budget(density=0.1)
    assert dict(budget.layers) == {layer: {"density": 0.3} for layer in LAYERS}
    (note,) = budget.measured["notes"]
    assert note.startswith("density=0.1 cannot be reached: the sparsest levels come to 0.")


def test_guidance_in_one_batch_and_other_plugins_beside_it() -> None:
    pipe = families.FAMILIES["cogvideox"]()
    given = families.sizes("cogvideox") | {"num_inference_steps": 1}
    plugins = (FreeNoise(window=2, stride=1), radial(dense_steps=0.0, dense_layers=2))
    found = genkit.probe(pipe, *plugins, prompt=["a red circle", "a blue square"], levels=[{"density": 0.5}], **given)
    assert {sample.branch for sample in found.samples} == {"cond", "uncond"}
    assert {sample.layer for sample in found.samples} == {"transformer.transformer_blocks.2.attn1"}
    assert len(found.facts["seeds"]) == 2 and len(found.facts["plugins"]) == 2


@pytest.mark.parametrize(
    ("plugins", "change", "message"),
    [
        ([], {}, "measures one plug-in that leaves out a part of the attention, such as threshold; given: none"),
        ([FreeNoise()], {}, "given: freenoise"),
        ([radial()], {"prompt": []}, "there is no prompt to probe with"),
        ([radial()], {"levels": [{"densty": 1}]}, "radial has no parameter 'densty', which the level .* sets"),
        ([radial()], {"num_frames": 34}, "the nearest is 33"),
        ([radial(min_tokens=109, dense_steps=0.0)], {}, "nothing to measure: 108 tokens are fewer than min_tokens=109"),
        ([radial(dense_steps=1.0)], {}, "nothing to measure: all steps and layers are dense; lower dense_"),
    ],
)
def test_what_cannot_be_probed(plugins: list[Any], change: dict[str, Any], message: str, wan: Any) -> None:
    given = {"prompt": "a", "num_inference_steps": 1, "guidance_scale": 1.0}
    with pytest.raises(genkit.UsageError, match=message):
        genkit.probe(wan, *plugins, **(SMALL | given | change))
    assert getattr(wan, "_genkit_handle", None) is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "recall=None and density=None: give exactly one"),
        ({"recall": 0.9, "density": 0.3}, "recall=0.9 and density=0.3: give exactly one"),
        ({"recall": 0}, r"recall=0 must be in \(0, 1\]"),
        ({"density": 1.1}, r"density=1.1 must be in \(0, 1\]"),
    ],
)
def test_targets(target: dict[str, Any], message: str, found: Probe) -> None:
    with pytest.raises(genkit.UsageError, match=message):
        found.budget(**target)


WORDS = [
    "probe",
    "a red circle",
    "--num-frames",
    "17",
    "--height",
    "48",
    "--width",
    "64",
    "--steps",
    "2",
    "--seed",
    "3",
]
WORDS += ["--set", "max_sequence_length=16"]


def test_the_command(wan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    opened = []
    monkeypatch.setitem(genkit.__dict__, "load", lambda model, **how: opened.append((model, how)) or wan)
    out, drawing = tmp_path / "new" / "budget.json", tmp_path / "budget.svg"
    how = ["--with", "radial:min_tokens=1,block=16", "--density", "0.7", "--out", str(out), "--picture", str(drawing)]
    assert main([*WORDS, *how, "--model", "owner/name", "--dtype", "float32"]) == 0
    assert opened[0][0] == "owner/name" and opened[0][1]["dtype"] == "float32"
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split() == ["layer", "level", "density", "min", "recall", "max", "error"]
    budget = load_budget(out)
    assert budget.method == "radial" and [line.split()[0] for line in lines[1:3]] == list(budget.layers) == LAYERS
    assert all(
        f"density={budget.layers[layer]['density']}" in line for layer, line in zip(LAYERS, lines[1:], strict=False)
    )
    assert lines[-2:] == [str(out), str(drawing)] and drawing.read_text().startswith("<svg") and said.err == ""


def test_the_command_for_programs_and_with_more_prompts(
    wan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(genkit.__dict__, "load", lambda model, **how: wan)
    (tmp_path / "more.txt").write_text("a blue square\n\n")
    out = tmp_path / "budget.json"
    how = ["--with", "radial:min_tokens=1,dense_layers=2", "--recall", "0.5", "--out", str(out), "--json"]
    assert main([*WORDS, *how, "--prompts", str(tmp_path / "more.txt")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads(out.read_text())
    assert said["measured"]["prompts"] == ["a red circle", "a blue square"] and list(said["layers"]) == LAYERS[1:]
    assert min(said["measured"]["layers"][LAYERS[1]]["recall"]) >= 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "b.txt"], "cannot write 'b.txt': the name of a budget must end in .json"),
        (["--out", "/dev/null/b.json"], "cannot write '/dev/null/b.json'"),
        (["--out", "folder.json"], "cannot write 'folder.json': it is a folder"),
        (["--out", "b.json", "--picture", "b.jpg"], "the name of a picture must end in .svg or .png"),
        (["--out", "b.json", "--recall", "1.5"], "recall=1.5 must be in (0, 1]"),
        (["--out", "b.json", "--recall", "0.5", "--density", "0.5"], "give exactly one of them"),
        (["--out", "b.json", "--prompts", "absent.txt"], "cannot read the prompts in 'absent.txt'"),
        (["--out", "b.json", "--with", "radail"], "did you mean 'radial'"),
        (["--out", "b.json", "--set", 'prompt=[{"prompt": "a"}]'], "a probe takes prompts that are text;"),
        ([], "--out"),
    ],
)
def test_a_wrong_command_is_refused_before_the_model_is_opened(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    monkeypatch.setitem(genkit.__dict__, "load", lambda *_, **__: pytest.fail("the model was opened"))
    assert main([*WORDS, *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]


def test_the_picture_of_a_probe(found: Probe) -> None:
    chosen = found.chosen(density=0.7)
    drawing = picture(found, chosen)
    hints = [shape.hint for shape in drawing.shapes if isinstance(shape, Box) and shape.hint]
    assert len(hints) == 2 * (3 + 3 + 3 + 2), "three tables by step and one by head, of two layers"
    assert hints.count("1, step 1: -") == hints.count("2, step 1: -") == 3
    for number, layer in (("1", LAYERS[0]), ("2", LAYERS[1])):
        samples = [one for one in found.at(layer, chosen[layer].level) if one.step == 2]
        density, recall, error = (hint for hint in hints if hint.startswith(f"{number}, step 3: "))
        assert density.endswith(f" {samples[0].density:.3f}")
        assert recall.endswith(f" {min(min(one.recall) for one in samples):.3f}")
        assert error.endswith(f" {max(max(one.error) for one in samples):.3f}")
        heads = [hint for hint in hints if hint.startswith(f"{number}, head ")]
        least = [min(one.recall[head] for one in found.at(layer, chosen[layer].level)) for head in (0, 1)]
        assert heads == [f"{number}, head {head}: {value:.3f}" for head, value in enumerate(least)]


def perfect(density: float = 1.0, recall: float = 1.0, error: float = 0.0, layers: int = 2) -> Probe:
    """A probe of one level whose every number is the same."""
    samples = tuple(
        Sample(layer=f"t.{n}.attn", step=0, branch="cond", level=0, density=density, recall=(recall,), error=(error,))
        for n in range(layers)
    )
    facts = {"model": "tiny", "frames": 17, "height": 64, "width": 64, "prompts": ["a"]}
    return Probe(method="radial", levels=({"density": density},), samples=samples, steps=1, facts=facts)


@pytest.mark.parametrize("target", [{"recall": 0.95}, {"density": 1.0}])
def test_a_probe_that_leaves_nothing_out_says_so_everywhere(target: dict[str, float]) -> None:
    found = perfect()
    chosen, budget = found.chosen(**target), found.budget(**target)
    (note,) = budget.measured["notes"]
    assert "nothing is left out" in note and "all 2 layers compute everything" in note and "saves nothing" in note
    assert f"! {note}" in table(found, chosen, budget)
    words = [shape.text for shape in picture(found, chosen).shapes if isinstance(shape, Word)]
    assert any("2 of 2 layers leave nothing out" in word for word in words)


def test_perfect_recall_is_painted_as_the_best_and_not_as_the_worst() -> None:
    found = perfect()
    shapes = picture(found, found.chosen(recall=0.9)).shapes
    fills = {(shape.hint, shape.fill) for shape in shapes if isinstance(shape, Box) and ": 1.000" in shape.hint}
    assert ("0, head 0: 1.000", GAIN[-1]) in fills and GAIN[0] not in {fill for _, fill in fills}
    lossless = {shape.fill for shape in shapes if isinstance(shape, Box) and ": 0.000" in shape.hint}
    assert lossless == {LOSS[0]}


@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("recall", [0.0, 0.5, 1.0, 1.0000001])
@pytest.mark.parametrize("layers", [1, 3])
def test_every_constant_probe_can_be_drawn(density: float, recall: float, layers: int) -> None:
    found = perfect(density, recall, 1 - min(1.0, recall), layers)
    assert "</svg>" in picture(found, found.chosen(recall=0.5)).svg()


def test_numbers_that_are_none_are_refused_and_not_chosen_from() -> None:
    for change in ({"recall": float("nan")}, {"error": float("inf")}, {"density": float("nan")}):
        with pytest.raises(genkit.GenkitError, match=r"attention of t\.0\.attn at step 1 is not finite"):
            _check_finite(perfect(**change).samples)
