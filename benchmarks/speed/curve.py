"""`genkit bench curve`: speed-up of sparse attention over dense SDPA against the density, on this machine.

Half of the heads of one layer of LTX-Video at 512 x 512 with 257 frames, its longest: 8,448 tokens, 16 heads of 64.
Dense SDPA runs in the same process before every planner and density. Two times count for a planner: ``cold``, where it
plans from scratch in every call, and ``warm``, where a static mask is kept as during a generation.
"""

import statistics
import time
from dataclasses import dataclass, replace
from itertools import groupby, product

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.operators.block_sparse import Impl
from genkit.attention.planning.rule import SparseRule
from genkit.benchmarks.speed.attention import FORMULA, tflops
from genkit.benchmarks.speed.planner_time import PlannerTime, sparse_rule, time_planner
from genkit.benchmarks.timing.gate import require_correct
from genkit.benchmarks.timing.machine import choose_device, choose_dtype, dtype_name, elapsed, facts, heading
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.real_models import RealModel, find_model
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError

LONGEST = replace(
    find_model("ltx"), name="ltx-512-257f", title="LTX-Video 2B, 512 x 512, 257 frames", volume=(33, 16, 16)
).scale(tokens=8448, heads=16)
GOAL, GOAL_DENSITY = 3.3, 0.2
"""Required speed-up over dense, planning included, and the density at which it is required."""


QUIET = 0.85
"""CPU share of all threads that dense attention gets on an idle machine."""


@dataclass(frozen=True, kw_only=True)
class CurveConfig:
    """Planners and densities to time."""

    densities: tuple[float, ...] = (0.1, 0.15, 0.19, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
    """Densities asked of the planners; the computed ones are in the rows."""
    planners: tuple[str, ...] = ("radial", "radial:block=128", "sparge")
    """Plug-ins with a parameter ``density``: a static mask in two block sizes, and one that plans for every head and
    call."""
    model: RealModel = LONGEST
    """The layer."""
    impls: tuple[Impl, ...] = ("gather", "flex")
    """Implementations of the block-sparse kernel."""
    device: str | None = "cpu"
    """None is the GPU if there is one."""
    dtype: str | None = None
    """None is bfloat16 on a GPU and float32 on a CPU."""
    seed: int = 0
    """Seed of the tensors."""
    repeats: int = 3
    """Timed calls of dense SDPA, and after it of a planner, at each density."""


def curve(config: CurveConfig, tell: Tell, say: Say) -> list[Row]:
    """Check the kernels, time, and return the rows; ``tell`` receives them one by one, ``say`` lines for users.

    Raises:
        UsageError: an unknown name, or an implementation that is not available here.
        WrongKernelError: a kernel is wrong; then nothing is timed.
    """
    device, model = choose_device(config.device), config.model
    dtype, about = choose_dtype(config.dtype, device), facts(device)
    asked = product(config.impls, config.planners, config.densities)
    rules = {key: sparse_rule(_with_density(*key[1:]), model) for key in asked}
    with torch.no_grad():
        for impl in config.impls:
            for check in require_correct(impl, dtype, [model.width], device):
                tell({"bench": "check", **check, **about})
        q, k, v = query_key_value(model.grid, model.heads, model.width, dtype, device, config.seed)
        say(f"{heading(about, dtype, config.seed)}\n{model.title}: {list(q.shape)}; {model.scaling}")
        say(COLUMNS)
        rows = []
        for (impl, name, density), rule in rules.items():
            rows.append({"planner": name, "asked": density, **_point(config, rule, impl, q, k, v), **about})
            tell(rows[-1])
            say(line_of(rows[-1]))
    say(verdict(rows))
    return rows


def _with_density(plugin: str, density: float) -> str:
    """Add a density to a plug-in in its textual form."""
    return f"{plugin}{',' if ':' in plugin else ':'}density={density}"


def _point(config: CurveConfig, rule: SparseRule, impl: Impl, q: Tensor, k: Tensor, v: Tensor) -> Row:
    """Measure one point of the curve, with its own dense attention."""
    begun, spent = time.perf_counter(), time.process_time()
    dense = [elapsed(lambda: F.scaled_dot_product_attention(q, k, v), q.device) for _ in range(config.repeats)]
    share = (time.process_time() - spent) / (time.perf_counter() - begun) / torch.get_num_threads()
    found = time_planner(rule, config.model, q, k, v, impl=impl, repeats=config.repeats)
    if isinstance(found, str):
        raise UsageError(f"{rule.name} cannot be timed: {found}")
    return _row(config, q, statistics.median(dense), found) | {"cpu_share": share}


def _row(config: CurveConfig, q: Tensor, dense_ms: float, found: PlannerTime) -> Row:
    model = config.model
    return {
        "bench": "curve",
        "shape": model.name,
        "tensor": list(q.shape),
        "volume": list(model.volume),
        "scaled_from": model.scaled_from,
        "dtype": dtype_name(q.dtype),
        "seed": config.seed,
        "repeats": config.repeats,
        "dense_ms": dense_ms,
        "cold_ms": found.fresh.ms,
        "ms": found.whole.ms,
        "low_ms": found.whole.low_ms,
        "high_ms": found.whole.high_ms,
        **found.parts(),
        "cold": dense_ms / found.fresh.ms,
        "warm": dense_ms / found.whole.ms,
        "tflops": tflops(q.shape, found.density, found.attention_ms),
        "tflops_is": FORMULA,
    }


COLUMNS = "impl    planner             asked  density  dense ms  planner ms  attention ms   cold   warm"


def line_of(row: Row) -> str:
    """Return one row as text; the planner's time is the cold one."""
    times = f"{row['dense_ms']:10.0f}{row['planner_first_ms'] or 0:12.1f}{row['attention_ms']:14.0f}"
    ratios = f"{row['cold']:7.2f}{row['warm']:7.2f}"
    return f"{row['impl']:8}{row['planner']:18}{row['asked']:7.2f}{row['density']:9.3f}{times}{ratios}"


def verdict(rows: list[Row]) -> str:
    """Return whether each planner reaches the goal at its density, and whether the machine was idle."""
    said = []
    for name, lines in groupby(rows, key=lambda row: (row["planner"], row["impl"])):
        if ratio := _at_goal(list(lines)):
            said.append(
                f"{name[0]} by {name[1]} at density {GOAL_DENSITY}: {ratio:.2f} x dense with its planning included in "
                f"every call; the goal of {GOAL} is {'reached' if ratio >= GOAL else 'missed'}"
            )
    share = min(row["cpu_share"] for row in rows)
    if rows[0]["device"] == "cpu" and share < QUIET:
        said.append(
            f"other processes were running: dense attention had as little as {share:.0%} of the CPU; measure again"
        )
    return "\n".join(said)


def _at_goal(rows: list[Row]) -> float | None:
    """Return the speed-up at the goal's density, between the nearest points on both sides; None without both.

    Masks come in steps, so hardly any has that very density. Between two of them the time is interpolated linearly.
    """
    below = max((row for row in rows if row["density"] <= GOAL_DENSITY), key=lambda row: row["density"], default=None)
    above = min((row for row in rows if row["density"] >= GOAL_DENSITY), key=lambda row: row["density"], default=None)
    if below is None or above is None:
        return None
    gap = above["density"] - below["density"]
    share = (GOAL_DENSITY - below["density"]) / gap if gap else 0.0
    return 1 / ((1 - share) / below["cold"] + share / above["cold"])
