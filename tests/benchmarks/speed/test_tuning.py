"""`genkit bench tune`: candidates of every operator are checked, timed and put back; the best makes the table."""

import math
from importlib import import_module
from typing import Any

import pytest
import torch

from genkit.apps.cli import main
from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.operators.launch import Launch
from genkit.benchmarks.speed import tuning
from genkit.benchmarks.speed.candidates import SMALL, candidates, distinct_launches
from genkit.benchmarks.timing.gate import small_inputs
from genkit.benchmarks.timing.operators import OPERATORS

LAUNCH = {
    "block_sparse": Launch(16, 32, 8, 1),
    "threshold": Launch(0, 64, 8, 1),
    "block_mass": Launch(0, 16, 2, 1),
    "pool": Launch(0, 32, 2, 1),
    "permute": Launch(64, 0, 2, 1),
}
"""Numbers that no operator is shipped with."""
TILES = {"QUERIES", "KEYS", "GROUP", "ROWS"}


def small(operator: str, *launches: Launch, blocks: tuple[int, ...] = (32,)) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and lines of a small run on this CPU, in the interpreter."""
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    config = tuning.TuneConfig(
        operators=(operator,), widths=(16,), dtypes=("float32",), blocks=blocks, candidates=launches,
        grid=VideoGrid(frames=2, rows=4, cols=8), device="cpu", repeats=1,
    )  # fmt: skip
    tuning.tune(config, rows.append, said.append)
    return rows, said


@pytest.mark.parametrize("operator", LAUNCH)
def test_candidates_are_timed_and_the_shipped_numbers_put_back(operator: str) -> None:
    kernel = import_module(f"genkit.attention.operators.{operator}.triton")
    shipped = kernel.TABLE
    (row,), (line,) = small(operator, LAUNCH[operator])
    numbers = LAUNCH[operator]
    assert row["launch"] == {"queries": numbers.queries, "keys": numbers.keys, "warps": numbers.warps, "stages": 1}
    assert row["operator"] == operator and row["unavailable"] is None and row["shipped"] is False
    unit = tuning.RATES[OPERATORS[operator].unit]
    assert row["dense_ms"] > 0 and row[f"dense_{unit}"] > 0
    assert ("sparse_ms" in row) == (operator in ("block_sparse", "threshold"))
    assert line.startswith(f"{operator}, D 16 float32 in blocks of 32: ") and line.endswith("1 of 1 ran")
    assert kernel.TABLE is shipped


@pytest.mark.parametrize("operator", LAUNCH)
def test_inside_the_kernel_is_started_with_the_numbers(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = import_module(f"genkit.attention.operators.{operator}.triton")
    started: list[dict[str, Any]] = []

    class Recorder:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *args, **options: started.append(options)

    monkeypatch.setattr(kernel, "_forward", Recorder())
    given, numbers, shipped = small_inputs(torch.float32, 16, torch.device("cpu"), 64), LAUNCH[operator], kernel.TABLE
    with pytest.raises(RuntimeError, match="on purpose"), tuning.use_launch(operator, numbers):
        OPERATORS[operator].run(given, "triton")
        raise RuntimeError("on purpose")
    assert kernel.TABLE is shipped
    (options,) = started
    assert options["num_warps"] == numbers.warps and options["num_stages"] == numbers.stages
    tiles = {name: value for name, value in options.items() if name in TILES}
    if operator == "block_mass":
        assert tiles.pop("QUERIES") == 64, "a program writes a whole block"
    assert set(tiles.values()) == {numbers.queries, numbers.keys} - {0}


def test_a_wrong_candidate_is_a_row_and_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = import_module("genkit.attention.operators.pool.triton")
    right = kernel.constants

    def wrong(launch: Launch, width: int, block: int) -> dict[str, object]:
        return right(launch, width, block) | ({"BLOCK": block // 2} if launch.keys == 32 else {})

    monkeypatch.setattr(kernel, "constants", wrong)
    rows, (line,) = small("pool", Launch(0, 32, 4, 3), Launch(0, 16, 4, 3))
    assert rows[0]["unavailable"].startswith("pool (triton, float32, D 16, blocks of 32) has an error of ")
    assert "dense_ms" not in rows[0]
    assert rows[1]["unavailable"] is None and rows[1]["shipped"] is True
    assert "keys 16, warps 4, stages 3 (shipped)" in line and line.endswith("1 of 2 ran")


def test_a_kernel_that_does_not_run_here_is_a_row_with_the_reason() -> None:
    (row,), (line,) = small("threshold", LAUNCH["threshold"], blocks=(24,))
    assert "its blocks are 16, 32, 64 or 128 tokens, not 24" in row["unavailable"]
    assert "no candidate ran; the first: " in line


def test_candidates_wider_than_a_block_are_tried_once() -> None:
    launches = (Launch(16, 16, 4, 2), Launch(32, 16, 4, 2), Launch(16, 16, 8, 2))
    table = tuning.table_of("block_sparse")
    assert distinct_launches(launches, table, 16) == [Launch(16, 16, 4, 2), Launch(16, 16, 8, 2)]
    assert distinct_launches(launches, table, 32) == list(launches)


def test_an_operator_without_blocks_is_tried_once() -> None:
    assert [row["block"] for row in small("permute", LAUNCH["permute"], blocks=(16, 32))[0]] == [16]
    assert [row["block"] for row in small("pool", LAUNCH["pool"], blocks=(16, 32))[0]] == [16, 32]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_operator_has_candidates(dtype: torch.dtype) -> None:
    assert set(SMALL) == {name.partition(" ")[0] for name in OPERATORS}
    for operator in SMALL:
        found = candidates(operator, dtype)
        assert len(found) == len(set(found)) > 5
        (zeros,) = {(launch.queries == 0, launch.keys == 0) for launch in found}
        shipped = tuning.table_of(operator).choose(90, 128, dtype, 128)
        assert zeros == (shipped.queries == 0, shipped.keys == 0)


def test_both_kinds_of_a_call_are_timed() -> None:
    grid = VideoGrid(frames=4, rows=4, cols=8)
    given = small_inputs(torch.float32, 16, torch.device("cpu"), 32)
    assert {name: x.tau for name, x in tuning.cases_of("threshold", grid, given).items()} == {
        "dense": -math.inf, "sparse": 1.0,
    }  # fmt: skip
    cases = tuning.cases_of("block_sparse", grid, given)
    assert cases["dense"].plan.density == 1 and cases["sparse"] is given
    assert list(tuning.cases_of("pool", grid, given)) == ["dense"]


def candidate(dense: float, sparse: float, **change: Any) -> dict[str, Any]:
    launch = {"queries": int(dense), "keys": 16, "warps": 4, "stages": 2}
    row = {"width": 64, "dtype": "bfloat16", "block": 128, "launch": launch, "unavailable": None}
    return row | {"dense_ms": dense, "sparse_ms": sparse, "dense_tflops": 5.0, "sparse_tflops": 4.0} | change


def test_the_best_launch_has_the_least_product_of_times() -> None:
    wrong = candidate(1, 1, unavailable="it errs")
    pool = {"operator": "pool", "width": 64, "dtype": "bfloat16", "block": 128, "launch": {"keys": 16}}
    pool |= {"unavailable": None, "dense_ms": 2.0, "dense_gb_per_s": 9.0}
    rows = [candidate(10, 5), candidate(12, 3, operator="block_sparse"), wrong, candidate(7, 7, width=128), pool]
    table = tuning.launch_table(rows)
    assert table["block_sparse: D 64 bfloat16, block 128"]["queries"] == 12
    assert table["block_sparse: D 128 bfloat16, block 128"]["queries"] == 7
    assert table["pool: D 64 bfloat16, block 128"] == {"keys": 16, "dense_gb_per_s": 9.0}
    assert tuning.best_of([wrong]) is None and tuning.launch_table([wrong]) == {}


def test_what_cannot_be_tuned_is_one_sentence(capsys: Any) -> None:
    assert main(["bench", "tune", "--width", "512"]) == 2
    assert capsys.readouterr().err == "genkit: width=512 cannot be tuned; the kernel's heads are 16 to 256 wide\n"
    assert main(["bench", "tune", "--operator", "pools"]) == 2
    assert capsys.readouterr().err == "genkit: there is no kernel called 'pools'; did you mean 'pool'?\n"
