"""`genkit bench curve`: how much faster sparse attention is than dense SDPA, over the density, on this machine.

Half of the heads of one layer of LTX-Video at 512 x 512 with 257 frames, its longest: 8,448 tokens, 16 heads of 64.
Dense SDPA runs in the same process, anew before every planner and density. Two times count for a planner: ``anew``,
where it plans from nothing in every call, and ``under way``, where a static mask is kept as in a generation.
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
from genkit.benchmarks.speed.planner_time import Planned, planned, sparse_rule
from genkit.benchmarks.timing.gate import require_right
from genkit.benchmarks.timing.machine import device_named, dtype_name, dtype_named, elapsed, facts, heading
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.real_models import RealModel, model_named
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError

LONGEST = replace(
    model_named("ltx"), name="ltx-512-257f", title="LTX-Video 2B, 512 x 512, 257 frames", volume=(33, 16, 16)
).scale(tokens=8448, heads=16)
GOAL, GOAL_DENSITY = 3.3, 0.2
"""How much faster than dense it has to be, planning counted in, and at which density."""


QUIET = 0.85
"""Share of the time of all threads that dense attention has on a machine that does nothing else."""


@dataclass(frozen=True, kw_only=True)
class CurveConfig:
    """What is timed."""

    densities: tuple[float, ...] = (0.1, 0.15, 0.19, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
    """Asked of the planners; what was really computed is in the rows."""
    planners: tuple[str, ...] = ("radial", "radial:block=128", "sparge")
    """Plug-ins with a parameter ``density``: a static mask in two sizes of blocks, and one that is planned anew for
    every head and call."""
    model: RealModel = LONGEST
    """The layer."""
    impls: tuple[Impl, ...] = ("gather", "flex")
    """Of the block-sparse kernel."""
    device: str | None = "cpu"
    """None is the GPU where there is one."""
    dtype: str | None = None
    """None is bfloat16 on a GPU and float32 on a CPU."""
    seed: int = 0
    """Of the tensors."""
    repeats: int = 3
    """Timed calls of dense SDPA, and after it of a planner, at each density."""


def curve(config: CurveConfig, tell: Tell, say: Say) -> list[Row]:
    """Check the kernels, time, and give the rows; ``tell`` gets them one by one, ``say`` lines for people.

    Raises:
        UsageError: an unknown name, or an implementation that cannot run here.
        WrongKernelError: a kernel is wrong; then no speed was told.
    """
    device, model = device_named(config.device), config.model
    dtype, about = dtype_named(config.dtype, device), facts(device)
    asked = product(config.impls, config.planners, config.densities)
    rules = {key: sparse_rule(_with_density(*key[1:]), model) for key in asked}
    with torch.no_grad():
        for impl in config.impls:
            for check in require_right(impl, dtype, [model.width], device):
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
    """A plug-in in its textual form with a density besides what it says."""
    return f"{plugin}{',' if ':' in plugin else ':'}density={density}"


def _point(config: CurveConfig, rule: SparseRule, impl: Impl, q: Tensor, k: Tensor, v: Tensor) -> Row:
    """One point of the curve, with dense attention of its own."""
    begun, spent = time.perf_counter(), time.process_time()
    dense = [elapsed(lambda: F.scaled_dot_product_attention(q, k, v), q.device) for _ in range(config.repeats)]
    share = (time.process_time() - spent) / (time.perf_counter() - begun) / torch.get_num_threads()
    found = planned(rule, config.model, q, k, v, impl=impl, repeats=config.repeats)
    if isinstance(found, str):
        raise UsageError(f"{rule.name} cannot be timed: {found}")
    return _row(config, q, statistics.median(dense), found) | {"cpu_share": share}


def _row(config: CurveConfig, q: Tensor, dense_ms: float, found: Planned) -> Row:
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
        "anew_ms": found.fresh.ms,
        "ms": found.whole.ms,
        "low_ms": found.whole.low_ms,
        "high_ms": found.whole.high_ms,
        **found.parts(),
        "anew": dense_ms / found.fresh.ms,
        "under_way": dense_ms / found.whole.ms,
        "tflops": tflops(q.shape, found.density, found.attention_ms),
        "tflops_is": FORMULA,
    }


COLUMNS = "impl    planner             asked  density  dense ms  planner ms  attention ms   anew  under way"


def line_of(row: Row) -> str:
    """One row for people: the planner's time is that from nothing."""
    times = f"{row['dense_ms']:10.0f}{row['planner_first_ms'] or 0:12.1f}{row['attention_ms']:14.0f}"
    ratios = f"{row['anew']:7.2f}{row['under_way']:11.2f}"
    return f"{row['impl']:8}{row['planner']:18}{row['asked']:7.2f}{row['density']:9.3f}{times}{ratios}"


def verdict(rows: list[Row]) -> str:
    """Whether each planner reaches the goal at the goal's density, and whether that can be believed."""
    said = []
    for name, lines in groupby(rows, key=lambda row: (row["planner"], row["impl"])):
        if ratio := _at_goal(list(lines)):
            said.append(
                f"{name[0]} by {name[1]} at density {GOAL_DENSITY}: {ratio:.2f} x dense with its planning counted in "
                f"every call; the goal of {GOAL} is {'reached' if ratio >= GOAL else 'missed'}"
            )
    least = min(row["cpu_share"] for row in rows)
    if rows[0]["device"] == "cpu" and least < QUIET:
        said.append(
            f"other processes were at work: dense attention had as little as {least:.0%} of the CPU; measure again"
        )
    return "\n".join(said)


def _at_goal(rows: list[Row]) -> float | None:
    """Speed-up at the goal's density, between the nearest points on both sides; None where there are not both.

    Masks come in steps, so hardly one has that very density. Between two of them the time is taken as linear.
    """
    below = max((row for row in rows if row["density"] <= GOAL_DENSITY), key=lambda row: row["density"], default=None)
    above = min((row for row in rows if row["density"] >= GOAL_DENSITY), key=lambda row: row["density"], default=None)
    if below is None or above is None:
        return None
    gap = above["density"] - below["density"]
    share = (GOAL_DENSITY - below["density"]) / gap if gap else 0.0
    return 1 / ((1 - share) / below["anew"] + share / above["anew"])
