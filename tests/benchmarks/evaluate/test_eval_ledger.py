"""The ledger: finished rows survive a kill at any byte, and nothing else does."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from genkit.benchmarks.evaluate.ledger import Ledger, canonical, key_of
from genkit.errors import GenkitError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Ledger(tmp_path / "run" / "ledger.jsonl") as ledger:
        for i in range(3):
            ledger.add(f"key {i}", {"sum": i / 3, "text": "a\nb ü"})
    return tmp_path / "run" / "ledger.jsonl"


def rows(path: Path) -> list[str]:
    with Ledger(path) as ledger:
        return sorted(ledger.rows)


def test_what_is_added_is_read_back(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.rows == {f"key {i}": {"sum": i / 3, "text": "a\nb ü"} for i in range(3)}


def test_a_ledger_torn_at_any_byte_keeps_its_finished_rows(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        finished = whole[:length].count(b"\n")
        assert rows(path) == [f"key {i}" for i in range(finished)]
        assert path.read_bytes() == whole[: whole[:length].rfind(b"\n") + 1]


def test_rows_are_added_after_the_repair(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with Ledger(path) as ledger:
        ledger.add("key 2", {"sum": 2 / 3, "text": "a\nb ü"})
    assert path.read_bytes() == whole


def test_a_last_line_of_rubbish_is_torn_too(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0\0\0\n")
    assert rows(path) == ["key 0", "key 1", "key 2"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("rubbish", [b"{}", b"\xff\xfe", b'["key"]', b""])
def test_damage_in_the_middle_is_named(path: Path, rubbish: bytes) -> None:
    first, _, third, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, rubbish, third, b""]))
    with pytest.raises(GenkitError, match="line 2 of .*ledger.jsonl' is damaged; remove that line and resume"):
        Ledger(path)
    path.write_bytes(b"\n".join([first, third, b""]))
    assert rows(path) == ["key 0", "key 2"]


@pytest.mark.parametrize(
    "theirs",
    [
        b"my notes",
        b"my notes\n",
        b'{"mine": 1}',
        b'{"mine": 1}\n',
        b'{\n "mine": 1\n}',
        b"[1]",
        b"a\nb",
        b"\xff\xfe",
    ],
)
def test_a_file_of_somebody_else_is_no_ledger(theirs: bytes, tmp_path: Path) -> None:
    """Nothing is cut from it and nothing added."""
    path = tmp_path / "notes"
    path.write_bytes(theirs)
    with pytest.raises(UsageError, match="notes' already exists and is not a ledger; choose another name"):
        Ledger(path)
    assert path.read_bytes() == theirs


class Full:
    """A file on a disk that has room for some bytes more, or none."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.file.write(data[: self.room])
        self.room -= taken
        return int(taken)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 10, 40])
def test_a_full_disk_leaves_no_half_row(room: int, path: Path) -> None:
    whole = path.read_bytes()
    with (
        pytest.raises(GenkitError, match="No space left on device; its 3 finished rows are kept"),
        Ledger(path) as ledger,
    ):
        ledger._file = Full(ledger._file, room)  # type: ignore[assignment]
        ledger.add("key 3", {"text": "a" * 100})
    assert path.read_bytes() == whole and rows(path) == ["key 0", "key 1", "key 2"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")
def test_a_ledger_on_a_small_disk(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(GenkitError, match="No space left on device"), Ledger(tmp_path / "l") as ledger:
            for i in range(1000):
                ledger.add(f"key {i}", {"text": "a" * 300})
        kept = rows(tmp_path / "l")
        assert len(kept) == len(ledger.rows) > 20 and (tmp_path / "l").read_bytes().endswith(b"\n")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_one_process_at_a_time(path: Path) -> None:
    with Ledger(path), pytest.raises(UsageError, match="another evaluation is writing to"):
        Ledger(path)
    assert len(rows(path)) == 3


def test_a_finished_row_is_never_written_again(path: Path) -> None:
    with Ledger(path) as ledger, pytest.raises(UsageError, match="already has row key 0"):
        ledger.add("key 0", {})


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write .*; choose another place"):
        Ledger(tmp_path / "file" / "ledger.jsonl")


def test_a_pipe_keeps_no_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="cannot write '.*pipe': Illegal seek; choose another place"):
        Ledger(tmp_path / "pipe")


def test_a_key_depends_on_every_part_and_not_on_the_order_of_a_dictionary() -> None:
    key = key_of("video", None, {"a": 1, "b": 2})
    assert key == key_of("video", None, {"b": 2, "a": 1})
    others = [key_of("video", None, {"a": 1, "b": 3}), key_of("video", "", {"a": 1, "b": 2}), key_of("video", None)]
    assert len({key, *others}) == 4


def test_floats_come_back_to_the_last_bit_and_nan_is_refused() -> None:
    values = [0.1, 1 / 3, 1e-300, 5e-324]
    assert json.loads(canonical(values)) == values
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))
