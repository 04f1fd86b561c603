"""Comparisons of runs: paired by prompt, silent about noise, refusing what cannot be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from genkit.apps.cli import main
from genkit.benchmarks.evaluate.comparison import compare
from genkit.errors import UsageError

METRICS = {
    "lite.flicker": ("higher", "consistency"),
    "lite.dynamic_degree": ("neither", "dynamics"),
    "lite.seam_jump": ("lower", "other"),
}


def write(run: Path, shift: dict[str, float], prompts: int = 6, **changed: Any) -> Path:
    """Results whose values are the prompt's number plus a shift for each metric."""
    metrics = {
        name: {"better": better, "role": role, "identity": {"version": 1}, "prompts": prompts, "value": shift[name]}
        for name, (better, role) in METRICS.items()
        if name in shift
    }
    videos = [
        {"prompt": f"prompt {i}", "metrics": {m: {"sum": i + shift[m], "weight": 1.0, "curve": []} for m in metrics}}
        for i in range(prompts)
    ]
    run.mkdir()
    results = {"schema_version": 1, "suite": "lite", "metrics": metrics, "videos": videos} | changed
    (run / "results.json").write_text(json.dumps(results))
    return run


ZERO = dict.fromkeys(METRICS, 0.0)
SHIFTED = {"lite.flicker": 0.5, "lite.dynamic_degree": 0.5, "lite.seam_jump": 0.5}


def test_a_constant_difference_is_seen_through_the_prompts(tmp_path: Path) -> None:
    rows = compare([write(tmp_path / "a", ZERO), write(tmp_path / "b", SHIFTED), write(tmp_path / "c", ZERO)])
    assert [(row.metric, row.verdict) for row in rows[:3]] == [
        ("lite.flicker", "better"), ("lite.dynamic_degree", "different"), ("lite.seam_jump", "worse"),
    ]  # fmt: skip
    assert {row.verdict for row in rows[3:]} == {"equal"} and {row.other[-1] for row in rows[3:]} == {"c"}
    first = rows[0].difference
    assert (first.value, first.low, first.high, first.prompts) == pytest.approx((0.5, 0.5, 0.5, 6))


def test_one_prompt_gives_no_verdict(tmp_path: Path) -> None:
    rows = compare([write(tmp_path / "a", ZERO, prompts=1), write(tmp_path / "b", SHIFTED, prompts=3)])
    assert {row.verdict for row in rows} == {"too few prompts"}


def test_consistency_is_not_compared_without_dynamics(tmp_path: Path) -> None:
    lone = {"lite.flicker": 0.0, "lite.seam_jump": 0.0}
    with pytest.raises(UsageError, match="this comparison would report lite.flicker without a metric of dynamics"):
        compare([write(tmp_path / "a", ZERO), write(tmp_path / "b", lone)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"suite": "sprites"}, "is of suite 'lite' and .* of suite 'sprites'; compare runs of one suite"),
        ({"schema_version": 7}, "has schema version 7; this installation reads 1"),
        ({"metrics": {}}, "have no measured metric in common"),
    ],
)
def test_runs_that_do_not_fit(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare([write(tmp_path / "a", ZERO), write(tmp_path / "b", ZERO, **changed)])


def test_other_settings_are_refused(tmp_path: Path) -> None:
    runs = [write(tmp_path / "a", ZERO), write(tmp_path / "b", ZERO)]
    path = runs[1] / "results.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(UsageError, match="lite.flicker was measured with different settings or versions"):
        compare(runs)


def test_folders_without_results(tmp_path: Path) -> None:
    run = write(tmp_path / "a", ZERO)
    with pytest.raises(UsageError, match="takes two runs or more"):
        compare([run])
    with pytest.raises(UsageError, match="does not contain results.json; finish it"):
        compare([run, tmp_path / "absent"])
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged; write it again"):
        compare([run, tmp_path])


DAMAGE = {
    "nothing but a version": lambda r: r.clear() or r.update(schema_version=1),
    "no videos": lambda r: r.pop("videos"),
    "metrics in a list": lambda r: r.update(metrics=[]),
    "a metric without a value": lambda r: r["metrics"]["lite.flicker"].pop("value"),
    "a value that is no number": lambda r: r["metrics"]["lite.flicker"].update(value=float("nan")),
    "a sum that is no number": lambda r: r["videos"][0]["metrics"]["lite.flicker"].update(sum=float("inf")),
    "a negative weight": lambda r: r["videos"][0]["metrics"]["lite.flicker"].update(weight=-1),
    "a text for a bound": lambda r: r["metrics"]["lite.flicker"].update(reduction={"bounds": [0, "x"]}),
    "a reduction of tomorrow": lambda r: r["metrics"]["lite.flicker"].update(reduction={"median": True}),
    "prompts without measurements": lambda r: [video["metrics"].clear() for video in r["videos"]],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", [0, 1])
def test_damaged_results_are_said_to_be(damage: str, place: int, tmp_path: Path) -> None:
    runs = [write(tmp_path / "a", ZERO), write(tmp_path / "b", ZERO)]
    path = runs[place] / "results.json"
    results = json.loads(path.read_text())
    DAMAGE[damage](results)
    path.write_text(json.dumps(results))
    with pytest.raises(UsageError, match=f"{path}' is damaged; write it again with `genkit eval run ... --resume`"):
        compare(runs)


def test_the_command(tmp_path: Path, capsys: Any) -> None:
    runs = [str(write(tmp_path / "a", ZERO)), str(write(tmp_path / "b", SHIFTED))]
    assert main(["eval", "compare", *runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"base: {runs[0]}" and len(lines) == 2 + len(METRICS)
    assert lines[2].split()[0] == "lite.flicker" and lines[2].endswith("better")
    assert main(["eval", "compare", *runs, "--json"]) == 0
    assert [row["verdict"] for row in json.loads(capsys.readouterr().out)] == ["better", "different", "worse"]
    assert main(["eval", "compare", runs[0]]) == 2
