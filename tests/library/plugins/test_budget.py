"""The budget file: what is written is read back, and what cannot be used is refused in one sentence."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tree import TOP

from genkit.plugins.budget import PLANNERS, Budget, _planner, load_budget, read_budget

LAYER = "transformer.blocks.3.attn1"


def written(path: Path, **change: Any) -> Path:
    """A budget file in which some entries are different, or gone where the change is None."""
    good = json.loads(Budget(method="radial", layers={LAYER: {"density": 0.3}}).to_json())
    data = {name: value for name, value in (good | change).items() if value is not None}
    path.write_text(json.dumps(data))
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Infinity, tuples, tuples in tuples, None and what JSON has."""
    fields = {"a": -math.inf, "b": math.inf, "c": (1, 2.5, (math.inf, "inf-ant")), "d": None, "e": True, "f": "topk"}
    budget = Budget(method="threshold", layers={LAYER: fields, "x": {}}, measured={"model": "tiny", "seeds": [1]})
    path = budget.save(tmp_path / "new" / "budget.json")
    assert load_budget(path) == budget
    assert [entry.name for entry in path.parent.iterdir()] == ["budget.json"]
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_budget_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = written(tmp_path / "budget.json")
    before = path.read_text()
    for value in (math.nan, [1], object(), (math.nan,)):
        with pytest.raises(ValueError, match="a budget cannot hold"):
            Budget(method="radial", layers={LAYER: {"density": value}}).save(path)
    assert path.read_text() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("method", PLANNERS)
def test_every_level_of_every_planner_can_be_a_budget(method: str, tmp_path: Path) -> None:
    planner = _planner(method)()
    assert planner.name == method
    layers = {f"transformer.blocks.{number}.attn1": level for number, level in enumerate(planner.levels())}
    path = Budget(method=method, layers=layers).save(tmp_path / "budget.json")
    assert read_budget(path, method) == layers


def test_no_planner_is_forgotten() -> None:
    folder = TOP / "attention" / "planners"
    found = {
        f"{path.stem}:{node.name}"
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Planner") and node.name != "Planner"
    }
    assert found == set(PLANNERS.values())


def test_a_planner_of_another_package_is_read_by_its_own_dataclass(tmp_path: Path) -> None:
    path = Budget(method="mine", layers={LAYER: {"tau": -math.inf}}).save(tmp_path / "budget.json")
    assert read_budget(path, "mine", _planner("threshold")) == {LAYER: {"tau": -math.inf}}
    with pytest.raises(ValueError, match="no planner is called 'mine'; known: adaspa, "):
        read_budget(path, "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": None}, "is no budget: its format is None instead of 'genkit attention budget'"),
        ({"format": "recipe"}, "is no budget: its format is 'recipe'"),
        ({"version": 2}, "has version 2 and this installation reads 1; probe again"),
        ({"layers": None}, "is damaged: 'layers' must hold the fields of each layer"),
        ({"layers": {LAYER: 0.3}}, "is damaged"),
        ({"method": "svg"}, "was made for svg, not for radial; probe radial, or use svg"),
        ({"layers": {LAYER: {"densty": 0.3}}}, f"sets densty=0.3 in {LAYER}, but radial has no such field; it has "),
        ({"layers": {LAYER: {"name": "other"}}}, "has no such field"),
        ({"layers": {LAYER: {"density": "thick"}}}, "sets density='thick' in .*, but radial takes another type there"),
        ({"layers": {LAYER: {"density": True}}}, "takes another type"),
        ({"layers": {LAYER: {"block": 16.0}}}, "takes another type"),
        ({"layers": {LAYER: {"block_rule": "square"}}}, "takes another type"),
        ({"layers": {LAYER: {"density": 0}}}, r"takes a share in \(0, 1\]"),
        ({"layers": {LAYER: {"density": 1.5}}}, r"takes a share in \(0, 1\]"),
        ({"layers": {LAYER: {"density": "inf"}}}, r"takes a share in \(0, 1\]"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_budget(written(tmp_path / "budget.json", **change), "radial")
    assert "\n" not in str(error.value) and "budget.json" in str(error.value)


def test_fields_that_may_be_none_or_several_types(tmp_path: Path) -> None:
    fields = {"density": None, "decay": 1, "block": 16, "sink": False, "block_rule": "published"}
    assert read_budget(written(tmp_path / "budget.json", layers={LAYER: fields}), "radial") == {LAYER: fields}


@pytest.mark.parametrize("window", [[3, 3], [3, 3, 3.5], 3])
def test_tuples_have_the_right_length_and_content(window: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "budget.json", method="sliding-tile", layers={LAYER: {"window": window}})
    with pytest.raises(ValueError, match="sliding-tile takes another type"):
        read_budget(path, "sliding-tile")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ('{"format": NaN}', r"is no JSON \(NaN is no JSON\)"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "its format is None"),
        ("\udcff", "is no JSON"),
    ],
)
def test_a_file_that_is_no_budget(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        read_budget(path, "radial")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read the budget .*No such file.*; `genkit probe` writes one"):
        read_budget(tmp_path / "budget.json", "radial")
    with pytest.raises(ValueError, match="cannot read the budget"):
        read_budget(tmp_path, "radial")
