"""An append-only file of finished measurements, one JSON object a line.

A row is finished when its line ends. A process may be killed at any moment: at most the last line is torn, and the
next opening removes it. The order of the rows means nothing; what they mean is in their keys.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from genkit.errors import GenkitError, UsageError

Row = dict[str, Any]


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values.

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(*parts: Any) -> str:
    """The name of a row: a hash of everything that its result depends on, as JSON values."""
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


class Ledger:
    """The rows of a file by key, open for more; only one process at a time may hold it.

    Used as ``with Ledger(path) as ledger``. Missing folders are made, a torn last line is removed.

    Raises:
        UsageError: another process holds the ledger, or the file cannot be made.
        GenkitError: a line other than the last is damaged, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        """Finished rows by key."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise UsageError(f"cannot write {str(path)!r}: {error.strerror}; choose another folder") from error
        try:
            self._lock()
            self.rows = self._repaired()
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
            UsageError: the ledger has a row of this key already.
        """
        if key in self.rows:
            raise UsageError(f"the ledger holds row {key[:12]} already; a finished row is never written again")
        line = canonical({"key": key} | row).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise GenkitError(f"{str(self.path)!r} could not be written: {error.strerror or error}") from error
        self.rows[key] = row

    def note(self, key: str, row: Row) -> None:
        """Keep a row for this run only: another run may find another answer."""
        self.rows[key] = row

    def _lock(self) -> None:
        """Take the file for this process; the system gives it back when the process ends, however it ends."""
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"another evaluation is writing to {str(self.path)!r}; wait for its end") from error

    def _repaired(self) -> dict[str, Row]:
        self._file.seek(0)
        text = self._file.read()
        whole = text.rfind(b"\n") + 1
        *lines, _ = text[:whole].split(b"\n") if whole else [b""]
        found = [_parsed(line) for line in lines]
        if found and found[-1] is None:  # after a power failure the end of a line may be on the disk before its middle
            whole -= len(lines[-1]) + 1
            found.pop()
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


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None
