"""Append-only file of finished measurements, one JSON object a line.

A row is finished when its line ends. A process may be killed at any moment and a disk may be full: at most the last
line is torn, and the next opening removes it, but only in a file that is a ledger. The order of the rows means
nothing; their meaning is in their keys.
"""

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from genkit.errors import GenkitError, UsageError

Row = dict[str, Any]


def canonical(value: Any) -> str:
    """Return JSON text that is the same for equal values.

    Raises:
        ValueError: the value contains NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(*parts: Any) -> str:
    """Return the key of a row: a hash of everything that its result depends on, as JSON values."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


class Ledger:
    """The rows of a file by key, open for appending; only one process at a time may have it open.

    Used as ``with Ledger(path) as ledger``. Missing folders are created, a torn last line is removed.

    Raises:
        UsageError: another process has the ledger open, the file cannot be created, or it is not a ledger.
        GenkitError: a line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        """Finished rows by key."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._file.seek(0)  # a pipe cannot be read back
        except OSError as error:
            raise UsageError(f"cannot write {str(path)!r}: {error.strerror}; choose another place") from error
        try:
            self._lock()
            self.rows = self._repair()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, key: str, row: Row) -> None:
        """Write a finished row to the disk.

        Raises:
            UsageError: the ledger already has a row with this key.
            GenkitError: the disk is full; the file is as it was before.
        """
        if key in self.rows:
            raise UsageError(f"the ledger already has row {key[:12]}; a finished row is never written again")
        line = canonical({"key": key} | row).encode() + b"\n"
        before = self._file.seek(0, os.SEEK_END)
        try:
            while line:  # a nearly full disk accepts a part
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(before)
            raise GenkitError(
                f"{str(self.path)!r} could not be written: {error.strerror or error}; its {len(self.rows)} finished "
                "rows are kept"
            ) from error
        self.rows[key] = row

    def note(self, key: str, row: Row) -> None:
        """Record a row for this run only: another run may get another result."""
        self.rows[key] = row

    def _lock(self) -> None:
        """Lock the file for this process; the system unlocks it however the process ends."""
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"another evaluation is writing to {str(self.path)!r}; wait until it ends") from error

    def _repair(self) -> dict[str, Row]:
        """Read the rows of the file and remove a torn last line."""
        self._file.seek(0)
        text = self._file.readall()
        whole = text.rfind(b"\n") + 1
        lines, tail = text[:whole].split(b"\n")[:-1], text[whole:]
        found = [_parse(line) for line in lines]
        if found and found[-1] is None:  # after a power failure a line's end may be on disk without its middle
            tail = lines.pop()
            whole -= len(tail) + 1
            found.pop()
        if not any(found) and (found or not _torn(tail)):
            raise UsageError(f"{str(self.path)!r} already exists and is not a ledger; choose another name")
        rows = {}
        for number, row in enumerate(found, 1):
            if row is None:
                raise GenkitError(
                    f"line {number} of {str(self.path)!r} is damaged; remove that line and resume: "
                    "only its row is computed again"
                )
            rows[row.pop("key")] = row
        if whole < len(text):
            self._file.truncate(whole)
        return rows


def _torn(line: bytes) -> bool:
    """Return True if a line may be the rest of a row of ours, or of nothing, where no other line decides."""
    return bool(_parse(line)) or line[:2] in (b"", b"{", b"\0", b"\0\0") or (line[:2] == b'{"' and not _is_json(line))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _parse(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None
