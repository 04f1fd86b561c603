"""`genkit bench gpu`, `kernel` and `curve`: parts that are resumed, goals, the picture."""

import json
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tree import TOP

from genkit.apps.cli import main
from genkit.attention.planners.sparge import SpargePlanner
from genkit.benchmarks.gpu import run as gpu
from genkit.benchmarks.gpu.goals import goal_lines, goals, latest
from genkit.benchmarks.speed import attention, curve_page, kernels
from genkit.benchmarks.speed.candidates import SMALL
from genkit.benchmarks.speed.curve import LONGEST, CurveConfig, curve, verdict
from genkit.benchmarks.timing.operators import OPERATORS
from genkit.benchmarks.timing.real_models import MODELS
from genkit.errors import UsageError


class Parts:
    """Three parts that note when they run; the second fails as long as it is told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails = True

    def of(self, device: str | None) -> dict[str, gpu.Run]:
        return {name: self.part(name) for name in ("check one", "tune two", "tune three")}

    def part(self, name: str) -> gpu.Run:
        def run(tell: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
            self.ran.append(name)
            tell({"bench": "check", "value": len(self.ran)})
            if name == "tune two" and self.fails:
                raise RuntimeError("out of memory\nat length")

        return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Parts:
    fake = Parts()
    monkeypatch.setattr(gpu, "parts", fake.of)
    return fake


def test_finished_parts_are_not_run_again_and_failed_ones_are(fake: Parts, tmp_path: Path, capsys: Any) -> None:
    words = ["bench", "gpu", "--device", "cpu", "--out", str(tmp_path)]
    assert main(words) == 1
    assert fake.ran == ["check one", "tune two", "tune three"]
    said = capsys.readouterr().out
    assert "tune two failed: out of memory\n" in said and "left to run with the same command: tune two" in said
    fake.ran, fake.fails = [], False
    assert main(words) == 0
    assert fake.ran == ["tune two"] and "all 3 parts are finished" in capsys.readouterr().out
    fake.ran = []
    assert main([*words, "tune", "--again"]) == 0
    assert fake.ran == ["tune two", "tune three"]
    (path,) = tmp_path.glob("gpu_*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["part"] for row in rows if row["bench"] == "finished"] == [
        "check one", "tune three", "tune two", "tune two", "tune three",
    ]  # fmt: skip
    assert sum(row["bench"] == "check" for row in rows) == 6, "the lines of the failed part stay"
    assert all(row["device_name"] and row["versions"]["torch"] for row in rows if row["bench"] == "finished")


def test_no_part_is_begun_when_the_time_is_up(fake: Parts, tmp_path: Path, capsys: Any) -> None:
    assert main(["bench", "gpu", "--device", "cpu", "--out", str(tmp_path), "--minutes", "0"]) == 1
    assert fake.ran == []
    assert "left to run with the same command: check one, tune two, tune three" in capsys.readouterr().out


def test_what_cannot_be_run_is_one_sentence(
    fake: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert main(["bench", "gpu", "tunes", "--device", "cpu", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "genkit: there is no part called 'tunes'; did you mean 'tune two'?\n"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "gpu", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("genkit: device 'cuda' is not available on this machine")


def test_the_parts_are_everything_that_is_to_be_known() -> None:
    names = list(gpu.parts("cpu"))
    assert names[:3] == ["check float32", "check float16", "check bfloat16"]
    assert {f"attention {name}" for name in MODELS} <= set(names)
    assert {"step wan-14b-720p", "step hunyuan-720p", "tune 128 bfloat16 128", "tune 64 float16 64"} <= set(names)
    assert {f"tune {name}" for name in SMALL if name != "block_sparse"} <= set(names)


def timed(density: float, ms: float, **change: Any) -> dict[str, Any]:
    side = "block_sparse, all" if density == 1 else f"block_sparse, band {density:g}"
    return {
        "bench": "attention", "shape": "wan-14b-720p", "kind": "kernel", "side": side, "asked": density,
        "density": density, "ms": ms, "ratios": {"sdpa flash": 90 / ms}, "unavailable": None, "part": "a", "begun": 1,
    } | change  # fmt: skip


def test_goals_by_hand() -> None:
    """Flash takes 90 ms, ours 100 dense; a fifth takes 25 ms: 4 times faster, and 0.85 / 0.2 = 4.25 is needed."""
    rows = [timed(1.0, 100.0), timed(0.5, 50.0), timed(0.2, 25.0)]
    dense, half, fifth = goals(rows)
    assert dense.value == pytest.approx(0.9) and dense.reached
    assert half.value == pytest.approx(2.0) and half.needed == pytest.approx(1.7) and half.reached
    assert fifth.value == pytest.approx(4.0) and fifth.needed == pytest.approx(4.25) and not fifth.reached
    assert goals([timed(0.5, 50.0)]) == []


def test_goals_are_told_of_the_last_finished_run_only() -> None:
    done = {"bench": "finished", "part": "a", "begun": 2}
    old, new = [timed(1.0, 300.0)], [timed(1.0, 90.0, begun=2)]
    step = {"bench": "step", "part": "a", "begun": 2, "side": "radial", "model": "m", "ratio": 1.5, "ms": 7.0}
    rows = [*old, *new, step | {"unavailable": None}, done, timed(1.0, 1.0, begun=3)]
    lines = goal_lines(latest(rows))
    assert lines == [
        "reached  wan-14b-720p: dense speed as a share of SDPA's flash backend: 1.00, 0.90 is needed",
        "step     m with radial: 1.50 x dense, 7 ms",
    ]
    assert goal_lines(latest(old)) == ["nothing was timed yet"]


def test_every_operator_has_a_row_with_its_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(attention, "CPU_TOKENS", 200)
    out = tmp_path / "rows.jsonl"
    assert main(["bench", "kernel", "--repeats", "1", "--block", "16", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    timed = {row["kernel"]: row for row in rows if row["bench"] == "kernel"}
    assert list(timed) == list(OPERATORS)
    batch, heads, tokens, width = timed["pool"]["tensor"]
    pool, mass = timed["pool"], timed["block_mass"]
    assert pool["rate"] == pytest.approx(batch * heads * tokens * width * 4 / pool["ms"] / 1e6)
    assert mass["rate"] == pytest.approx(2 * batch * heads * tokens**2 * width / mass["ms"] / 1e9)
    assert pool["unit"] == "GB/s" and pool["ratio"] == pytest.approx(pool["reference_ms"] / pool["ms"])
    assert all(row["scaled_from"]["tokens"] == 32_760 for row in timed.values())
    assert "scaled down from 32,760 tokens" in capsys.readouterr().out
    assert main(["bench", "kernel", "pools"]) == 2
    assert capsys.readouterr().err == "genkit: there is no kernel called 'pools'; did you mean 'pool'?\n"


def test_inputs_of_an_operator_are_one_layer_of_the_model() -> None:
    model = MODELS["cogvideox"].scale(150, 2)
    given = kernels.inputs_of(model.grid, model.heads, model.width, torch.float32, torch.device("cpu"), 16, 0)
    assert given.q.shape[2] == given.plan.queries == given.order.shape[2] == len(given.order.unique())


@pytest.fixture(scope="module")
def points() -> list[dict[str, Any]]:
    """A curve of two planners, two densities and two implementations on 96 tokens."""
    model = replace(LONGEST, volume=(6, 4, 4), heads=1)
    config = CurveConfig(
        densities=(0.2, 1.0), planners=("radial", "sparge"), model=model, impls=("gather", "reference"), repeats=1
    )
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    found = curve(config, rows.append, said.append)
    assert [row for row in rows if row["bench"] == "curve"] == found
    judged = [line.split(" by ")[0] for line in said[-1].splitlines() if "the goal of" in line]
    assert set(judged) <= {"sparge"}, "no band of 96 tokens is as sparse as the goal"
    assert all(row["cpu_share"] > 0 for row in found)
    return found


def test_the_curve_counts_planning_in(points: list[dict[str, Any]]) -> None:
    assert [(row["impl"], row["planner"], row["asked"]) for row in points] == [
        (impl, planner, asked)
        for impl in ("gather", "reference") for planner in ("radial", "sparge") for asked in (0.2, 1.0)
    ]  # fmt: skip
    for row in points:
        assert row["cold"] == row["dense_ms"] / row["cold_ms"] and row["warm"] == row["dense_ms"] / row["ms"]
        assert row["tensor"] == [1, 1, 96, 64]
    assert points[1]["density"] == points[3]["density"] == 1 and points[2]["density"] < 0.6


def test_a_slow_plan_is_in_the_time_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleep is a bound that holds on a busy machine as well."""
    plan = SpargePlanner.plan
    monkeypatch.setattr(SpargePlanner, "plan", lambda *args: (time.sleep(0.2), plan(*args))[1])
    model = replace(LONGEST, volume=(6, 4, 4), heads=1)
    config = CurveConfig(densities=(0.5,), planners=("sparge",), model=model, impls=("gather",), repeats=1)
    (row,) = curve(config, lambda row: None, lambda line: None)
    assert row["cold_ms"] >= 200


def test_a_busy_machine_is_told() -> None:
    assert "other processes" not in verdict([curve_row(0.2, 3.4)])
    busy = verdict([curve_row(0.2, 3.4), curve_row(0.3, 3.0, cpu_share=0.4)])
    assert busy.endswith("dense attention had as little as 40% of the CPU; measure again")


def curve_row(density: float, cold: float, **change: Any) -> dict[str, Any]:
    row = {"planner": "radial", "impl": "gather", "density": density, "cold": cold, "device": "cpu", "cpu_share": 0.97}
    return row | change


def test_the_goal_is_judged_at_its_own_density() -> None:
    """Times of 1 / 4 at 0.1 and 1 / 2 at 0.3 are 3 / 8 at 0.2: 2.67 times faster."""
    told = "radial by gather at density 0.2: {} x dense with its planning included in every call; the goal of 3.3 is {}"
    assert verdict([curve_row(0.1, 4.0), curve_row(0.3, 2.0), curve_row(0.5, 1.0)]) == told.format("2.67", "missed")
    assert verdict([curve_row(0.2, 3.4)]) == told.format("3.40", "reached")
    assert verdict([curve_row(0.21, 9.0), curve_row(0.3, 8.0)]) == "", "nothing is told where there is no other side"
    both = verdict([curve_row(0.2, 3.4), curve_row(0.2, 3.0, impl="flex")])
    assert both.splitlines()[1].startswith("radial by flex at density 0.2: 3.00 x")


def test_the_table_takes_the_place_of_the_old_one(points: list[dict[str, Any]]) -> None:
    page = f"before\n{curve_page.BEGIN}\nstale\n{curve_page.END}\nafter\n"
    once = curve_page.insert_table(page, points)
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "stale" not in once
    assert curve_page.table(points) in once and curve_page.insert_table(once, points) == once
    with pytest.raises(UsageError, match="the page has no place for the table; write <!-- curve: begin -->"):
        curve_page.insert_table("before", points)


def test_a_planner_of_the_curve_keeps_its_other_settings() -> None:
    model = replace(LONGEST, volume=(6, 4, 4), heads=1)
    config = CurveConfig(densities=(1.0,), planners=("radial:block=8",), model=model, impls=("gather",), repeats=1)
    (row,) = curve(config, lambda row: None, lambda line: None)
    assert row["planner"] == "radial:block=8" and row["density"] == 1


def test_the_longest_ltx_is_long_enough() -> None:
    assert LONGEST.grid.tokens == 8448 and LONGEST.grid.pixel_frames == 257 and LONGEST.width == 64
    assert LONGEST.scaled_from is not None and LONGEST.scaled_from["heads"] == 2 * LONGEST.heads == 32


def test_the_picture_shows_every_point(points: list[dict[str, Any]], tmp_path: Path) -> None:
    root = ElementTree.fromstring(curve_page.picture(points))
    names = [shape.tag.rpartition("}")[2] for shape in root.iter()]
    assert names.count("polyline") == 5 and names.count("circle") == 8
    words = [shape.text for shape in root.iter() if shape.tag.endswith("text")]
    assert {"radial, gather", "sparge, reference", "1 / density"} <= set(words)
    assert main(["bench", "curve", "--picture", str(tmp_path / "a.png")]) == 2


def test_the_table_of_the_documentation_is_that_of_the_committed_result() -> None:
    """The rows of the last run; without a committed result there is no table."""
    path = TOP / "benchmarks/results/attention_cpu.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    last = [row for row in rows if row["bench"] == "curve" and row["time"] == rows[-1]["time"]]
    page = (TOP / "docs/speed.md").read_text(encoding="utf-8")
    told = page.partition(curve_page.BEGIN)[2].partition(curve_page.END)[0].strip()
    assert told == (curve_page.table(last).strip() if last else "")


def test_the_ceilings_of_the_documentation_follow_from_their_formula() -> None:
    """1 / ((1 - a) + a (w + (1 - w) d / 0.88)), for the density and the dense share of each column."""
    text = (TOP / "docs/speed.md").read_text(encoding="utf-8").partition("## How much a whole video")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ") and "%" in line]
    assert len(rows) == 7
    for name, _, share, *ceilings in rows:
        a = float(share.removesuffix(" %")) / 100
        for (density, dense), told in zip(((0.3, 0.25), (0.15, 0.2), (0.1, 0.1), (0.0, 0.2)), ceilings, strict=True):
            exact = 1 / ((1 - a) + a * (dense + (1 - dense) * density / 0.88))
            assert float(told) == pytest.approx(exact, abs=0.011), name
