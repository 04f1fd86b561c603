"""Launch numbers that `genkit bench tune` tries for each operator."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import torch

from genkit.attention.operators.launch import Entry, Launch, LaunchTable


def _all(*, queries: Iterable[int], keys: Iterable[int], warps: Iterable[int], stages: Iterable[int]) -> list[Launch]:
    return [Launch(*numbers) for numbers in product(queries, keys, warps, stages)]


SMALL = {
    "block_sparse": _all(queries=(64, 128), keys=(32, 64, 128), warps=(4, 8), stages=(2, 3)),
    "threshold": _all(queries=(0,), keys=(16, 32, 64), warps=(4, 8), stages=(2, 3)),
    "block_mass": _all(queries=(0,), keys=(32, 64, 128), warps=(4, 8), stages=(2, 3)),
    "frame_table": _all(queries=(64, 128), keys=(32, 64, 128), warps=(4, 8), stages=(2, 3)),
    "pool": _all(queries=(0,), keys=(16, 32, 64), warps=(2, 4, 8), stages=(3,)),
    "permute": _all(queries=(16, 32, 64), keys=(0,), warps=(2, 4, 8), stages=(3,)),
}
"""Candidates for 16-bit dtypes, by operator."""
_LARGE = _all(queries=(32, 64), keys=(16, 32, 64), warps=(4, 8), stages=(2,))
LARGE = SMALL | {"block_sparse": _LARGE, "frame_table": _LARGE}
"""Candidates for float32, which needs twice the memory and does not use tensor cores."""

WITHOUT_BLOCKS = ("permute",)
"""Operators that have no blocks and are timed once for all block sizes."""


def candidates(operator: str, dtype: torch.dtype) -> list[Launch]:
    """Return the candidates of an operator for a dtype."""
    return (LARGE if dtype == torch.float32 else SMALL)[operator]


def with_only(table: LaunchTable, launch: Launch) -> LaunchTable:
    """Return a table that has these numbers for all calls, and otherwise is as ``table``."""
    return replace(table, entries=(Entry(launch),))


def distinct_launches(asked: Iterable[Launch], table: LaunchTable, block: int) -> list[Launch]:
    """Return what a kernel is really started with for each candidate in blocks of ``block`` tokens, each once."""
    return list(dict.fromkeys(with_only(table, launch).choose(0, 16, torch.float16, block) for launch in asked))
