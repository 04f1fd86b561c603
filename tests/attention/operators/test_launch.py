"""Launch numbers: what each table chooses, and that a kernel is started with nothing else."""

from importlib import import_module

import pytest
import torch

from genkit.attention.operators.launch import Entry, Launch, LaunchTable, chip_of

OPERATORS = ("block_sparse", "threshold", "block_mass", "pool", "permute", "frame_table")
HALF, FULL = torch.bfloat16, torch.float32


def table(operator: str) -> LaunchTable:
    return import_module(f"genkit.attention.operators.{operator}.launch").TABLE  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("operator", "chip", "width", "dtype", "numbers"),
    [
        ("block_sparse", 80, 64, HALF, (128, 64, 8, 3)),
        ("block_sparse", 89, 65, HALF, (128, 64, 8, 2)),
        ("block_sparse", 90, 128, HALF, (128, 64, 8, 3)),
        ("block_sparse", 100, 129, HALF, (64, 32, 4, 2)),
        ("block_sparse", 90, 64, FULL, (64, 32, 4, 2)),
        ("block_sparse", 0, 128, FULL, (32, 32, 4, 2)),
        ("threshold", 90, 64, HALF, (0, 32, 4, 2)),
        ("threshold", 80, 80, FULL, (0, 32, 8, 2)),
        ("block_mass", 90, 64, FULL, (0, 64, 4, 2)),
        ("block_mass", 80, 128, HALF, (0, 64, 8, 2)),
        ("pool", 90, 128, HALF, (0, 16, 4, 3)),
        ("permute", 90, 128, HALF, (32, 0, 4, 3)),
        ("frame_table", 90, 128, HALF, (128, 64, 8, 3)),
        ("frame_table", 80, 64, FULL, (64, 32, 4, 2)),
    ],
)
def test_each_operator_chooses_by_chip_width_and_dtype(
    operator: str, chip: int, width: int, dtype: torch.dtype, numbers: tuple[int, int, int, int]
) -> None:
    assert table(operator).choose(chip, width, dtype, 128) == Launch(*numbers)


def test_the_first_entry_that_covers_a_call_is_used() -> None:
    new, narrow, rest = (Launch(64, 32, warps, 2) for warps in (1, 2, 4))
    entries = (Entry(new, chip=90, itemsize=2), Entry(narrow, width=64), Entry(rest))
    chosen = LaunchTable(entries).choose
    assert chosen(90, 64, HALF, 0) == chosen(120, 256, torch.float16, 0) == new
    assert chosen(89, 64, HALF, 0) == chosen(90, 64, FULL, 0) == narrow
    assert chosen(89, 65, HALF, 0) == chosen(90, 65, FULL, 0) == rest


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_table_covers_all_calls(operator: str) -> None:
    assert table(operator).entries[-1].covers(0, 10**6, torch.float64)
    assert table(operator).choose_for(torch.zeros(1, 1, 4, 8), 16).warps == 4


@pytest.mark.parametrize("operator", ["block_sparse", "block_mass"])
def test_tiles_are_never_wider_than_a_block_needs(operator: str) -> None:
    for block, most in ((8, 16), (16, 16), (24, 32), (33, 64)):
        found = table(operator).choose(90, 128, HALF, block)
        assert found.queries <= most and found.keys == most


def test_means_of_blocks_are_not_part_of_one_block() -> None:
    assert table("threshold").choose(90, 128, HALF, 16).keys == 32


def test_the_chip_is_the_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert chip_of(torch.device("cuda")) == 89 and chip_of(torch.device("cpu")) == 0
