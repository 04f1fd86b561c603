"""The script that runs the suite at other versions: what it installs and what it writes down."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from tree import TOP

tomllib = pytest.importorskip("tomllib", reason="the script needs Python 3.11")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("versions", TOP / ".ci" / "versions.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "versions.jsonl")
    monkeypatch.setattr(module, "PAGE", tmp_path / "versions.md")
    module.PAGE.write_text(f"head\n{module.BEGIN}\nold\n{module.END}\nfoot\n")
    return module


def row(script: Any, name: str, failed: int = 0) -> dict[str, Any]:
    counts = {"set": name, "passed": 10, "failed": failed, "skipped": 1, "python": "3.11.7", "date": "2026-01-01"}
    return counts | {"versions": dict.fromkeys(script.SHOWN, "1.0"), "commit": "abc1234"}


def test_the_floors_are_those_that_are_declared(script: Any) -> None:
    floors = script.floors()
    assert "diffusers==0.38" in floors and "transformers==5.3" in floors and "gradio==6.31" in floors
    declared = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert len(floors) == sum(">=" in need for need in declared) + 1, "and one for the page"


def test_what_is_installed_for_each_set(script: Any, tmp_path: Path) -> None:
    assert script.constraints("newest", tmp_path) is None
    assert script.constraints("pinned", tmp_path) == script.constraints("index", tmp_path) == TOP / "constraints.txt"
    assert "torch==2.10" in script.constraints("floors", tmp_path).read_text()
    assert script.SETS["index"][1]["PIP_FIND_LINKS"] == "" and script.SETS["pinned"][1] == {}


def test_a_set_that_is_run_again_takes_the_place_of_its_row(script: Any) -> None:
    script.write(row(script, "floors", failed=3))
    script.write(row(script, "pinned"))
    script.write(row(script, "floors"))
    rows = [json.loads(line) for line in script.RESULTS.read_text().splitlines()]
    assert [(one["set"], one["failed"]) for one in rows] == [("pinned", 0), ("floors", 0)]
    page = script.PAGE.read_text()
    assert page.startswith("head\n") and page.endswith("\nfoot\n") and "old" not in page
    assert page.count("| floors | 10 | 0 | 1 | 3.11.7 | 1.0 |") == 1


def test_the_page_shows_the_committed_results(script: Any) -> None:
    results = TOP / "benchmarks/results/versions.jsonl"
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    assert script.table(rows) in (TOP / "docs/versions.md").read_text("utf-8")
