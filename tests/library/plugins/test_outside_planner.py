"""A planner in another package, one class and one entry point: the example of docs/seams/attention.md, installed."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import families
import pytest
from tree import TOP

import genkit
from genkit.apps.cli import main
from genkit.apps.page import form, plugin_fields
from genkit.benchmarks.evaluate.ledger import Ledger
from genkit.benchmarks.tiny import planners
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.sparse import methods
from genkit.plugins.sparse.properties import PROPERTIES, Property, examples

PAGE = (TOP / "docs" / "seams" / "attention.md").read_text()
MODULE, TESTS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
ENTRY = re.findall(r"```toml\n\[project\.entry-points\.\"genkit\.plugins\"\]\n(.*?)```", PAGE, re.S)[0].replace(
    '"', ""
)  # pip writes no quotes
CLIP: dict[str, Any] = {"num_frames": 33, "height": 48, "width": 64, "max_sequence_length": 16}


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package as pip leaves it: a module, and the entry point beside it."""
    place = tmp_path_factory.mktemp("site")
    (place / "every_other.py").write_text(MODULE)
    about = place / "every_other-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: every-other\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[genkit.plugins]\n{ENTRY}")
    monkeypatch.syspath_prepend(place)
    yield place
    sys.modules.pop("every_other", None)


def test_it_is_known_wherever_plugins_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "every-other" in catalogue.names() and "every-other" in methods.names()
    assert "every-other" in planners.PlannersConfig().planners
    assert main(["plugins", "--json"]) == 0
    card = next(card for card in json.loads(capsys.readouterr().out) if card["name"] == "every-other")
    assert card["claims"] == ["sparse attention"] and card["parameters"][0]["name"] == "every"
    assert card["parameters"][0]["description"] == "One block of keys in this many is read; 1 is dense."


def test_the_page_has_its_fields_and_refuses_what_it_refuses() -> None:
    assert plugin_fields.fields("every-other")[0].key == "every-other.every"
    filled = form.defaults() | {"prompt": "a red circle", "every-other": True, "every-other.every": 3}
    request = form.check(filled).request
    assert request is not None and request.plugins == ("every-other:every=3",)
    assert "every=0 must be at least 1" in form.check(filled | {"every-other.every": 0}).wrong["every-other"]
    both = form.check(filled | {"radial": True}).wrong
    assert "both claim sparse attention" in both["every-other"] and set(both) == {"every-other", "radial"}


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_the_properties_of_every_method_are_run_over_it(holds: Property) -> None:
    method: Any = catalogue.plugin_class("every-other")
    holds(*examples(method))


def test_a_property_that_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that reads every block but its own, and text and padding as they come."""
    method: Any = catalogue.plugin_class("every-other")
    planner = sys.modules["every_other"].EveryOtherPlanner
    right = planner.plan

    def wrong(self: Any, here: Any) -> Any:
        plan = right(self, here)
        return type(plan)(plan.keep.roll(1, -1), plan.block, plan.queries, plan.keys)

    monkeypatch.setattr(planner, "plan", wrong)
    found = []
    for holds in PROPERTIES:
        try:
            holds(*examples(method))
        except AssertionError:
            found.append(holds.__name__)
    assert "much_is_left_out_but_no_query_is_without_its_own_block" in found
    assert "words_are_read_by_all_and_padding_by_none" in found


def test_its_own_tests_run_as_the_page_says(tmp_path: Path, installed: Path) -> None:
    (tmp_path / "test_every_other.py").write_text(TESTS)
    assert pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]) == 0


def test_it_is_probed_and_a_budget_sets_it_layer_by_layer(tmp_path: Path) -> None:
    pipe, settings = families.wan(), "block=4,min_tokens=1,dense_steps=0,dense_layers=0"
    plugin = catalogue.parse(f"every-other:{settings}")
    found = genkit.probe(pipe, plugin, prompt="a", num_inference_steps=1, seed=1, **CLIP)
    assert [level["every"] for level in found.levels] == [8, 5, 3, 2, 1]
    path = found.budget(density=0.5).save(tmp_path / "budget.json")
    chosen = {layer: fields["every"] for layer, fields in json.loads(path.read_text())["layers"].items()}
    assert len(chosen) == 3 and set(chosen.values()) <= {8, 5, 3, 2, 1} and min(chosen.values()) > 1
    with genkit.apply(pipe, catalogue.parse(f"every-other:budget={path},{settings}")) as handle:
        told = handle.generate("a", num_inference_steps=1, seed=1, **CLIP).receipt.attention.densities["every-other"]
    assert told.max < 0.8 and told.mean <= 0.5 + 1e-3
    path.write_text(path.read_text().replace('"every": ', '"every": -'))
    with pytest.raises(UsageError, match="invalid setting in .*: every-other: every=-[0-9] must be at least 1; probe"):
        genkit.apply(pipe, catalogue.parse(f"every-other:budget={path}"))


def test_the_benchmark_of_planners_measures_it(tmp_path: Path) -> None:
    config = planners.PlannersConfig(prompts=1, frames=33, steps=2, planners=("every-other",), extensions=("none",))
    pipe = genkit.load("tiny")
    about = {"device": "cpu", "device_name": "a chip", "threads": 1, "versions": {}, "dtype": "float32", "weights": "f"}
    with Ledger(tmp_path / "rows.jsonl") as ledger:
        planners.run(config, planners.maker(pipe, config), ledger, about, lambda line: None)
        dense, mine = ledger.rows.values()
    assert (dense["planner"], mine["planner"]) == ("dense", "every-other") and mine["plugins"] == ["every-other"]
    assert mine["sparse_calls"] > 0 == mine["refused_calls"] and 0.4 < mine["density"] < 0.7 and mine["psnr"] > 10
