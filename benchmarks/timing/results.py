"""Files of results: one JSON object a line, written to the disk one by one; earlier lines are never lost."""

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
"""Takes a row."""
Say = Callable[[str], None]
"""Takes a line for people."""


@contextmanager
def lines_to(path: Path | None) -> Iterator[Tell]:
    """Somewhere to tell rows to: they are added to a file, or go nowhere when ``path`` is None.

    Raises:
        UsageError: the file cannot be made, or another process writes to it.
        GenkitError: an earlier line is damaged, or the disk is full.
    """
    if path is None:
        yield lambda row: None
        return
    begun, count = (time.time_ns(), os.getpid()), itertools.count()
    with Ledger(path) as ledger:
        yield lambda row: ledger.add(key_of(*begun, next(count)), row)
