"""The budget file: what is written is read back, and what cannot be used is refused in one sentence."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tree import TOP

from genkit.plugins import catalogue
from genkit.plugins.budget import Budget, load_budget, read_budget
from genkit.plugins.contract import Target
from genkit.plugins.sparse import methods
from genkit.plugins.sparse.radial import Radial
from genkit.plugins.sparse.sliding_tile import SlidingTile

LAYER = "transformer.blocks.3.attn1"
TARGET = Target(family="wan", title="Wan", native_frames=5, kinds=frozenset({"self", "cross"}))


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
        with pytest.raises(ValueError, match="a budget cannot contain"):
            Budget(method="radial", layers={LAYER: {"density": value}}).save(path)
    assert path.read_text() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("method", methods.names())
def test_every_level_of_every_planner_can_be_a_budget(method: str, tmp_path: Path) -> None:
    plugin: Any = catalogue.plugin_class(method)
    planner = plugin().planner()
    assert planner.name == method
    layers = {f"transformer.blocks.{number}.attn1": level for number, level in enumerate(planner.levels())}
    path = Budget(method=method, layers=layers).save(tmp_path / "budget.json")
    assert read_budget(path, plugin) == layers


def test_no_planner_is_forgotten() -> None:
    folder = TOP / "attention" / "planners"
    found = {
        node.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Planner")
    }
    plugins: list[Any] = [catalogue.plugin_class(name) for name in methods.names()]
    assert found == {type(plugin().planner()).__name__ for plugin in plugins}


class Mine:
    """A method of another package."""

    name = "mine"
    tau: float = 1.0
    dense_steps: float = 0.0

    @classmethod
    def layer_fields(cls) -> frozenset[str]:
        return frozenset({"tau"})


def test_a_planner_of_another_package_is_read_by_its_own_class(tmp_path: Path) -> None:
    path = Budget(method="mine", layers={LAYER: {"tau": -math.inf}}).save(tmp_path / "budget.json")
    assert read_budget(path, Mine) == {LAYER: {"tau": -math.inf}}
    path = Budget(method="mine", layers={LAYER: {"dense_steps": 0.5}}).save(tmp_path / "budget.json")
    with pytest.raises(ValueError, match="sets dense_steps=0.5 in .*, but mine has no such field; it has tau"):
        read_budget(path, Mine)


@pytest.mark.parametrize(
    ("method", "fields", "today"),
    [
        ("radial", {"sink": True, "block_rule": "published"}, {"first_frame": True, "rule": "published"}),
        ("svg2", {"top_p": 0.5, "least": 0.0625}, {"top_p": 0.5, "min_share": 0.0625}),
        ("adaspa", {"recall": None, "density": 0.3}, {"density": 0.3}),
        ("adaspa", {"recall": 0.9}, {"recall": 0.9}),
        ("threshold", {"tau": -math.inf}, {"tau": -1000.0}),
        ("vmoba", {"threshold": 1.1}, {"threshold": 1.0}),
        ("vmoba", {"threshold": 0.4, "block": 16}, {"threshold": 0.4, "block": 16}),
    ],
)
def test_budgets_of_the_first_release_are_read_in_todays_terms(
    method: str, fields: dict[str, Any], today: dict[str, Any], tmp_path: Path
) -> None:
    path = Budget(method=method, layers={LAYER: fields}).save(tmp_path / "budget.json")
    plugin: Any = catalogue.plugin_class(method)
    assert read_budget(path, plugin) == {LAYER: today}
    (rule,) = plugin(budget=str(path)).parts(TARGET).rules
    assert {name: getattr(rule.planner_in(LAYER).settings, name) for name in today} == today


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": None}, "is not a budget: its format is None instead of 'genkit attention budget'"),
        ({"format": "recipe"}, "is not a budget: its format is 'recipe'"),
        ({"version": 2}, "has version 2 and this installation reads 1; probe again"),
        ({"layers": None}, "is damaged: 'layers' must contain the fields of each layer"),
        ({"layers": {LAYER: 0.3}}, "is damaged"),
        ({"method": "svg"}, "was made for svg, not for radial; probe radial, or use svg"),
        ({"layers": {LAYER: {"densty": 0.3}}}, f"sets densty=0.3 in {LAYER}, but radial has no such field; it has "),
        ({"layers": {LAYER: {"name": "other"}}}, "has no such field"),
        ({"layers": {LAYER: {"density": "thick"}}}, "sets density='thick' in .*, but radial takes another type there"),
        ({"layers": {LAYER: {"density": True}}}, "takes another type"),
        ({"layers": {LAYER: {"block": 16.0}}}, "takes another type"),
        ({"layers": {LAYER: {"rule": "square"}}}, "takes another type"),
        ({"layers": {LAYER: {"dense_steps": 0.5}}}, "has no such field"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_budget(written(tmp_path / "budget.json", **change), Radial)
    assert "\n" not in str(error.value) and "budget.json" in str(error.value)


def test_fields_that_may_be_none_or_several_types(tmp_path: Path) -> None:
    fields = {"density": None, "decay": 1, "block": 16, "first_frame": False, "rule": "published"}
    assert read_budget(written(tmp_path / "budget.json", layers={LAYER: fields}), Radial) == {LAYER: fields}


@pytest.mark.parametrize("density", [0, 1.5, "inf"])
def test_values_out_of_range_are_refused_with_file_and_layer(density: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "budget.json", layers={LAYER: {"density": density}})
    with pytest.raises(ValueError, match=rf"budget.json' has an invalid setting in {LAYER}: .*must be in \(0, 1\]"):
        Radial(budget=str(path)).parts(TARGET)


def test_what_the_model_decides_is_filled_in_in_a_layer_too(tmp_path: Path) -> None:
    path = written(tmp_path / "budget.json", layers={LAYER: {"decay": None}})
    (rule,) = Radial(decay=0.5, budget=str(path)).parts(TARGET).rules
    assert rule.planner_in(LAYER).settings.decay == 0.2 and rule.planner_in("another").settings.decay == 0.5


@pytest.mark.parametrize("window", [[3, 3], [3, 3, 3.5], 3])
def test_tuples_have_the_right_length_and_content(window: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "budget.json", method="sliding-tile", layers={LAYER: {"window": window}})
    with pytest.raises(ValueError, match="sliding-tile takes another type"):
        read_budget(path, SlidingTile)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid JSON"),
        ("{", "invalid JSON"),
        ('{"format": NaN}', r"invalid JSON \(NaN is not allowed in JSON\)"),
        ("[" * 100_000, "invalid JSON"),
        ("[1]", "its format is None"),
        ("\udcff", "invalid JSON"),
    ],
)
def test_a_file_that_is_no_budget(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        read_budget(path, Radial)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read the budget .*No such file.*; `genkit probe` writes one"):
        read_budget(tmp_path / "budget.json", Radial)
    with pytest.raises(ValueError, match="cannot read the budget"):
        read_budget(tmp_path, Radial)
