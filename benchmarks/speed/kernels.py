"""`genkit bench kernel`: every operator of `genkit.attention` by itself, compared with its definition in PyTorch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from genkit.attention.geometry.grid import VideoGrid
from genkit.benchmarks.speed.attention import models_for
from genkit.benchmarks.timing.baselines import attempt
from genkit.benchmarks.timing.gate import require_correct
from genkit.benchmarks.timing.machine import Timing, choose_device, choose_dtype, dtype_name, facts, heading
from genkit.benchmarks.timing.masks import mask_of
from genkit.benchmarks.timing.operators import OPERATORS, Inputs, Operator, own_impl
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError, nearest

DENSITY = 0.2
"""Density for the operators that take a plan."""


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """Operators to time, and their inputs."""

    kernels: tuple[str, ...] = ()
    """Names of ``OPERATORS``; empty is all."""
    shape: str = "wan-1.3b-480p"
    """One of ``MODELS``."""
    impl: str = "auto"
    """Implementation; an operator without it uses ``auto``."""
    block: int = 64
    """Tokens of a block."""
    dtype: str | None = None
    """None is bfloat16 on a GPU and float32 on a CPU."""
    device: str | None = None
    """None is the GPU if there is one."""
    seed: int = 0
    """Seed of the tensors."""
    repeats: int | None = None
    """Timed calls of each; None is 20 on a GPU and 3 on a CPU."""

    def __post_init__(self) -> None:
        for name in self.kernels:
            if name not in OPERATORS:
                raise UsageError(f"there is no kernel called {name!r}; {nearest(name, OPERATORS)}")


def kernels(config: KernelConfig, tell: Tell, say: Say) -> None:
    """Check all operators, then time those that were asked for.

    Raises:
        UsageError: an unknown name, or an implementation that is not available here.
        WrongKernelError: a kernel is wrong; then nothing is timed.
    """
    device = choose_device(config.device)
    dtype, (model,) = choose_dtype(config.dtype, device), models_for((config.shape,), device)
    about, repeats = facts(device), config.repeats or (20 if device.type == "cuda" else 3)
    with torch.no_grad():
        for check in _check(config, dtype, model.width, device):
            tell({"bench": "check", **check, **about})
        say(heading(about, dtype, config.seed))
        say(f"{model.title}, {model.grid.tokens:,} tokens, {model.heads} heads; {model.scaling}".rstrip("; "))
        given = inputs_of(model.grid, model.heads, model.width, dtype, device, config.block, config.seed)
        for name in config.kernels or OPERATORS:
            row: Row = {"bench": "kernel", "kernel": name, "shape": model.name, "scaled_from": model.scaled_from}
            row |= {"tensor": list(given.q.shape), "block": config.block, "density": given.plan.density}
            row |= {"dtype": dtype_name(dtype), "seed": config.seed, **about}
            row |= _time(OPERATORS[name], given, config.impl, repeats)
            tell(row)
            say(_line(row))


def _check(config: KernelConfig, dtype: torch.dtype, width: int, device: torch.device) -> list[Row]:
    return require_correct(config.impl, dtype, [width], device, blocks=[config.block], others=config.block)


def inputs_of(
    grid: VideoGrid, heads: int, width: int, dtype: torch.dtype, device: torch.device, block: int, seed: int
) -> Inputs:
    """Draw one layer of a model, with a scattered plan, a random order and a plausible log-sum-exp."""
    q, k, v = query_key_value(grid, heads, width, dtype, device, seed)
    plan = mask_of("scattered", grid, heads, block=block, density=DENSITY, seed=seed)
    order = torch.randperm(grid.tokens, generator=torch.Generator().manual_seed(seed))
    lse = torch.full(q.shape[:3], math.log(grid.tokens), device=device)
    return Inputs(q=q, k=k, v=v, plan=plan.to(device), lse=lse, order=order[None, None].to(device))


def _time(operator: Operator, given: Inputs, impl: str, repeats: int) -> Row:
    own: Any = own_impl(operator, impl)
    ours = attempt(lambda: operator.run(given, own), given.q.device, repeats)
    plain = attempt(lambda: operator.run(given, "reference"), given.q.device, repeats)
    row: Row = {"impl": own, "reference_ms": plain.ms if isinstance(plain, Timing) else None}
    if isinstance(ours, str):
        return row | {"unavailable": ours}
    rate = operator.work(given) / ours.ms / (1e9 if operator.unit == "TFLOP/s" else 1e6)
    ratio = plain.ms / ours.ms if isinstance(plain, Timing) else None
    row |= asdict(ours) | {"unavailable": None, "ratio": ratio}
    return row | {"rate": rate, "unit": operator.unit, "counts": operator.formula}


def _line(row: Row) -> str:
    name = f"{row['kernel']:24}{row['impl']:10}"
    if row["unavailable"]:
        return f"{name}{row['unavailable']}"
    beside = "its definition cannot run here" if row["ratio"] is None else f"{row['ratio']:.2f} x its definition"
    return f"{name}{row['ms']:10.2f} ms  {row['rate']:9.2f} {row['unit']} of {row['counts']}; {beside}"
