"""Files of results: one JSON object a line, written to disk one by one; earlier lines are never lost."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genkit.benchmarks.evaluate.ledger import Ledger, key_of

Row = dict[str, Any]
Tell = Callable[[Row], None]
"""Consumer of a row."""
Say = Callable[[str], None]
"""Consumer of a line of text for users."""


@contextmanager
def lines_to(path: Path | None) -> Iterator[Tell]:
    """Yield a consumer of rows, which are appended to a file, or dropped if ``path`` is None.

    Raises:
        UsageError: the file cannot be created, or another process writes to it.
        GenkitError: an earlier line is damaged, or the disk is full.
    """
    if path is None:
        yield lambda row: None
        return
    begun, count = (time.time_ns(), os.getpid()), itertools.count()
    with Ledger(path) as ledger:
        yield lambda row: ledger.add(key_of(*begun, next(count)), row)
