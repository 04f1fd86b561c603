"""`genkit bench tune`: the fastest launch numbers of every Triton kernel on this GPU.

For an operator, a head width, a dtype and a block, every candidate is first compared with float64, and timed on 16,384
tokens of 8 heads if it is correct: attention dense, and over a fifth of the blocks or those above the threshold. The
best has the smallest product of its times.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import torch

from genkit.attention.geometry.grid import VideoGrid
from genkit.attention.operators.launch import Launch, LaunchTable
from genkit.benchmarks.speed.candidates import SMALL, WITHOUT_BLOCKS, candidates, distinct_launches, with_only
from genkit.benchmarks.speed.kernels import inputs_of
from genkit.benchmarks.timing.baselines import attempt
from genkit.benchmarks.timing.gate import reason_not_to_time, small_inputs
from genkit.benchmarks.timing.machine import choose_device, choose_dtype, dtype_name, facts
from genkit.benchmarks.timing.masks import mask_of
from genkit.benchmarks.timing.operators import OPERATORS, Inputs
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError, nearest

GRID, HEADS = VideoGrid(frames=16, rows=32, cols=32), 8
RATES = {"TFLOP/s": "tflops", "GB/s": "gb_per_s"}
"""Columns of the rows by unit."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Cases and candidates to time."""

    operators: tuple[str, ...] = ()
    """Names of operators; empty is all."""
    widths: tuple[int, ...] = (64, 128)
    """Channels of a head, 16 to 256."""
    dtypes: tuple[str, ...] = ("bfloat16", "float16")
    """Each by itself."""
    blocks: tuple[int, ...] = (64, 128)
    """Tokens of a block; each by itself."""
    candidates: tuple[Launch, ...] | None = None
    """None is those of each operator and dtype, and the shipped ones."""
    grid: VideoGrid = GRID
    """Geometry of the timed call."""
    device: str | None = None
    """None is the GPU if there is one."""
    repeats: int = 10
    """Timed calls of each."""

    def __post_init__(self) -> None:
        for name in self.operators:
            if name not in SMALL:
                raise UsageError(f"there is no kernel called {name!r}; {nearest(name, SMALL)}")
        if wrong := [width for width in self.widths if not 16 <= width <= 256]:
            raise UsageError(f"width={wrong[0]} cannot be tuned; the kernel's heads are 16 to 256 wide")


def tune(config: TuneConfig, tell: Tell, say: Say) -> None:
    """Time all candidates; one that cannot run, or is wrong, becomes a row with the reason.

    Raises:
        UsageError: an unknown dtype or device.
    """
    device = choose_device(config.device)
    about, dtypes = facts(device), [choose_dtype(name, device) for name in config.dtypes]
    with torch.no_grad():
        for width, dtype, block in product(config.widths, dtypes, config.blocks):
            given = inputs_of(config.grid, HEADS, width, dtype, device, block, 0)
            for name in config.operators or SMALL:
                if name in WITHOUT_BLOCKS and block != config.blocks[0]:
                    continue
                rows = []
                for row in _rows(name, config, given):
                    rows.append(about | row)
                    tell(rows[-1])
                say(_line(rows))


def _rows(name: str, config: TuneConfig, given: Inputs) -> Iterator[Row]:
    block, width, dtype, device = given.plan.block, given.q.shape[3], given.q.dtype, given.q.device
    table, small = table_of(name), small_inputs(dtype, width, device, block)
    shipped, cases = table.choose_for(given.q, block), cases_of(name, config.grid, given)
    asked = config.candidates or (shipped, *candidates(name, dtype))
    for launch in distinct_launches(asked, table, block):
        row: Row = {"bench": "tune", "operator": name, "width": width, "dtype": dtype_name(dtype), "block": block}
        row |= {"tensor": list(given.q.shape), "launch": asdict(launch), "shipped": launch == shipped}
        with use_launch(name, launch):
            row["unavailable"] = reason_not_to_time(name, small, "triton")
            for case, inputs in cases.items():
                if row["unavailable"] is None:
                    row |= _time(name, case, inputs, config.repeats)
        yield row


def cases_of(name: str, grid: VideoGrid, given: Inputs) -> Mapping[str, Inputs]:
    """Return the calls of an operator that are timed, by name."""
    if name == "block_sparse":
        every = mask_of("scattered", grid, HEADS, block=given.plan.block, density=1.0, seed=0)
        return {"dense": replace(given, plan=every.to(given.q.device)), "sparse": given}
    if name == "threshold":
        return {"dense": replace(given, tau=-math.inf), "sparse": given}
    return {"dense": given}


def _time(name: str, case: str, given: Inputs, repeats: int) -> Row:
    operator = OPERATORS[name]
    found = attempt(partial(operator.run, given, "triton"), given.q.device, repeats)
    if isinstance(found, str):
        return {"unavailable": found}
    rate = operator.work(given) / found.ms / (1e9 if operator.unit == "TFLOP/s" else 1e6)
    return {f"{case}_ms": found.ms, f"{case}_{RATES[operator.unit]}": rate}


def table_of(name: str) -> LaunchTable:
    """Return the launch numbers that an operator is shipped with."""
    table: LaunchTable = import_module(f"genkit.attention.operators.{name}.launch").TABLE
    return table


@contextmanager
def use_launch(name: str, launch: Launch) -> Iterator[None]:
    """Run the kernel of an operator with these launch numbers inside the ``with`` block."""
    names: dict[str, Any] = import_module(f"genkit.attention.operators.{name}.triton").__dict__
    shipped = names["TABLE"]
    names["TABLE"] = with_only(shipped, launch)
    try:
        yield
    finally:
        names["TABLE"] = shipped


def best_of(rows: Iterable[Row]) -> Row | None:
    """Return the fastest row that ran and was correct; None if there is none."""
    ran = [row for row in rows if row["unavailable"] is None]
    return min(ran, key=lambda row: row["dense_ms"] * row.get("sparse_ms", 1.0), default=None)


def launch_table(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return the best launch numbers by ``"pool: D 128 bfloat16, block 64"``, with the speed they reach."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = row.get("operator", "block_sparse")  # the only one that earlier results have
        groups.setdefault(f"{name}: D {row['width']} {row['dtype']}, block {row['block']}", []).append(row)
    found = {name: best_of(group) for name, group in sorted(groups.items())}
    return {name: row["launch"] | _rates(row) for name, row in found.items() if row}


def _rates(row: Row) -> dict[str, float]:
    return {key: value for key, value in row.items() if key.endswith(tuple(RATES.values()))}


def _line(rows: list[Row]) -> str:
    first, best = rows[0], best_of(rows)
    name = f"{first['operator']}, D {first['width']} {first['dtype']} in blocks of {first['block']}:"
    if best is None:
        return f"{name} no candidate ran; the first: {first['unavailable']}"
    numbers = ", ".join(f"{key} {value}" for key, value in best["launch"].items() if value)
    unit = OPERATORS[first["operator"]].unit
    rates = ", ".join(f"{rate:.3g} {unit} {key.partition('_')[0]}" for key, rate in _rates(best).items())
    shipped = " (shipped)" if best["shipped"] else ""
    return f"{name} {numbers}{shipped}; {rates}; {sum(row['unavailable'] is None for row in rows)} of {len(rows)} ran"
