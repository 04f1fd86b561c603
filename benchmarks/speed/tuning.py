"""`genkit bench tune`: the fastest launch numbers of the block-sparse kernel on this GPU.

For a head width, a dtype and a block, every candidate is timed on 16,384 tokens of 8 heads: dense, and over a scattered
fifth of the blocks. The best has the smallest product of both times, if it is correct; else the next.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.operators.block_sparse import block_sparse
from genkit.attention.operators.block_sparse.launch import Launch
from genkit.benchmarks.speed.attention import tflops
from genkit.benchmarks.timing.baselines import attempt
from genkit.benchmarks.timing.gate import judge, small_inputs
from genkit.benchmarks.timing.machine import Timing, choose_device, choose_dtype, dtype_name, facts
from genkit.benchmarks.timing.masks import mask_of
from genkit.benchmarks.timing.operators import Inputs
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError

CANDIDATES = tuple(Launch(*numbers) for numbers in product((64, 128), (32, 64, 128), (4, 8), (2, 3)))
"""Candidates for 16-bit dtypes."""
WIDE_CANDIDATES = tuple(Launch(*numbers) for numbers in product((32, 64), (16, 32, 64), (4, 8), (2,)))
"""Candidates for float32, which needs twice the memory and does not use tensor cores."""
GRID, HEADS = VideoGrid(frames=16, rows=32, cols=32), 8
SPARSE = 0.2
"""Density of the second time."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Cases and candidates to time."""

    widths: tuple[int, ...] = (64, 128)
    """Channels of a head, 16 to 256."""
    dtypes: tuple[str, ...] = ("bfloat16", "float16")
    """Each by itself."""
    blocks: tuple[int, ...] = (64, 128)
    """Tokens of a block; launch numbers are never wider than a block."""
    candidates: tuple[Launch, ...] | None = None
    """None is ``CANDIDATES``, or ``WIDE_CANDIDATES`` for float32."""
    grid: VideoGrid = GRID
    """Geometry of the timed call."""
    device: str | None = None
    """None is the GPU if there is one."""
    repeats: int = 10
    """Timed calls of each."""

    def __post_init__(self) -> None:
        if wrong := [width for width in self.widths if not 16 <= width <= 256]:
            raise UsageError(f"width={wrong[0]} cannot be tuned; the kernel's heads are 16 to 256 wide")


def tune(config: TuneConfig, tell: Tell, say: Say) -> None:
    """Time all candidates; one that cannot run, or would be best but is wrong, becomes a row with the reason.

    Raises:
        UsageError: an unknown dtype or device.
    """
    device = choose_device(config.device)
    about, dtypes = facts(device), [choose_dtype(name, device) for name in config.dtypes]
    with torch.no_grad():
        for width, dtype, block in product(config.widths, dtypes, config.blocks):
            rows = [about | row for row in _candidates(config, width, dtype, block, device)]
            _exclude_wrong(rows, small_inputs(dtype, width, device, block))
            for row in rows:
                tell(row)
            say(_line(rows))


def _candidates(config: TuneConfig, width: int, dtype: torch.dtype, block: int, device: torch.device) -> Iterator[Row]:
    q, k, v = query_key_value(config.grid, HEADS, width, dtype, device, 0)
    plans = {
        name: mask_of("scattered", config.grid, HEADS, block=block, density=density, seed=0).to(device)
        for name, density in (("dense", 1.0), ("sparse", SPARSE))
    }
    numbers = config.candidates or (WIDE_CANDIDATES if dtype == torch.float32 else CANDIDATES)
    for launch in fitting(numbers, block):
        row: Row = {"bench": "tune", "width": width, "dtype": dtype_name(dtype), "block": block}
        row |= {"tensor": list(q.shape), "launch": asdict(launch), "unavailable": None}
        for name, plan in plans.items():
            with use_launch(launch):
                found = attempt(partial(block_sparse, q, k, v, plan, impl="triton"), device, config.repeats)
            row |= _time(name, found, q.shape, plan.density)
            if row["unavailable"]:
                break
        yield row


def _exclude_wrong(rows: list[Row], given: Inputs) -> None:
    """Mark the best rows as wrong until the best is correct."""
    while best := best_of(rows):
        with use_launch(Launch(**best["launch"])):
            verdict = judge("block_sparse", given, "triton")
        if verdict.correct:
            return
        fault = f"it has an error of {verdict.error:.1e} where {verdict.bound:.1e} is allowed"
        best["unavailable"] = verdict.reason or fault


def fitting(candidates: Iterable[Launch], block: int) -> list[Launch]:
    """Return the candidates that are not wider than a block."""
    return [x for x in candidates if x.queries <= block and x.keys <= block]


@contextmanager
def use_launch(launch: Launch) -> Iterator[None]:
    """Run the kernel with these launch numbers inside the ``with`` block."""
    from genkit.attention.operators.block_sparse import triton as kernel

    names: dict[str, Any] = kernel.__dict__
    shipped = names["launch_for"]
    names["launch_for"] = lambda q, block: launch
    try:
        yield
    finally:
        names["launch_for"] = shipped


def _time(name: str, found: Timing | str, shape: tuple[int, ...], density: float) -> Row:
    if isinstance(found, str):
        return {"unavailable": found}
    return {f"{name}_ms": found.ms, f"{name}_tflops": tflops(shape, density, found.ms)}


def best_of(rows: Iterable[Row]) -> Row | None:
    """Return the fastest row that ran and was correct; None if there is none."""
    ran = [row for row in rows if row["unavailable"] is None]
    return min(ran, key=lambda row: row["dense_ms"] * row["sparse_ms"], default=None)


def launch_table(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return the best launch numbers by ``"D 128 bfloat16, block 64"``, with the speed they reach."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"D {row['width']} {row['dtype']}, block {row['block']}", []).append(row)
    found = {name: best_of(group) for name, group in sorted(groups.items())}
    return {
        name: {**row["launch"], "dense_tflops": row["dense_tflops"], "sparse_tflops": row["sparse_tflops"]}
        for name, row in found.items()
        if row
    }


def _line(rows: list[Row]) -> str:
    first, best = rows[0], best_of(rows)
    name = f"D {first['width']} {first['dtype']} in blocks of {first['block']}:"
    if best is None:
        return f"{name} no candidate ran; the first: {first['unavailable']}"
    numbers = ", ".join(f"{key} {value}" for key, value in best["launch"].items())
    rates = f"{best['dense_tflops']:.3g} TFLOP/s dense, {best['sparse_tflops']:.3g} at density {SPARSE}"
    return f"{name} {numbers}; {rates}; {sum(row['unavailable'] is None for row in rows)} of {len(rows)} ran"
