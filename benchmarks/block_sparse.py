"""Block-sparse attention against dense SDPA: checked first, then timed side by side.

    python -m genkit.benchmarks.block_sparse --tokens 4096 --density 0.25 --out runs.jsonl

Times are medians. The first call of FlexAttention compiles and is reported apart. ``ratio`` is dense time over sparse
time: above 1 the sparse one is faster. FLOPs are ``4 * B * H * N * N * D``, times the density for the sparse ones.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from genkit.attention.block_sparse import Impl, auto_impl, block_sparse, flex
from genkit.attention.grid import VideoGrid
from genkit.attention.plan import BlockPlan
from genkit.attention.planners.radial_mask import radial_plan

FRAMES = 16
"""Latent frames that the tokens are laid out as."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the result."""

    impl: str
    device: str
    dtype: str
    shape: tuple[int, int, int, int]
    """``[B, H, N, D]``."""
    block: int
    density: float
    seed: int
    threads: int
    torch_version: str
    max_error: float
    """Largest absolute difference to the definition in float64."""
    first_ms: float
    ms: float
    dense_ms: float
    ratio: float
    """``dense_ms / ms``."""
    tflops: float
    """Useful FLOPs a second, 1e12."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 if an implementation is wrong, and then nothing is timed."""
    asked = _parser().parse_args(arguments)
    dtype = getattr(torch, asked.dtype)
    plan = _plan(asked.tokens, asked.block, asked.density)
    shape = (asked.batch, asked.heads, plan.queries, asked.width)
    make = torch.Generator().manual_seed(asked.seed)
    q, k, v = (torch.randn(shape, generator=make).to(asked.device, dtype) for _ in range(3))
    device = torch.cuda.get_device_name() if asked.device == "cuda" else platform.processor() or platform.machine()
    print(f"{asked.device} ({device}), {torch.get_num_threads()} threads, torch {torch.__version__}, {asked.dtype}")
    print(f"[B, H, N, D] {list(shape)}, block {plan.block}, density {plan.density:.3f}, seed {asked.seed}")
    print(f"auto would take {auto_impl(q, plan)}")
    with torch.no_grad():
        impls = _usable(q, plan)
        errors = {impl: _error(q, k, v, plan, impl) for impl in impls}
        bound = 2 * _dense_error(q, k, v) + torch.finfo(dtype).eps
        if wrong := {impl: error for impl, (error, _) in errors.items() if not error <= bound}:
            print(f"wrong, nothing is timed: {wrong} exceed {bound:.1e}")
            return 1
        dense_ms = _time(lambda: F.scaled_dot_product_attention(q, k, v), asked.repeats)
        print(f"{'dense SDPA':12} {dense_ms:9.2f} ms")
        for impl in impls:
            ms = _time(lambda impl=impl: block_sparse(q, k, v, plan, impl=impl), asked.repeats)  # type: ignore[misc]
            row = Row(
                impl=impl,
                device=asked.device,
                dtype=asked.dtype,
                shape=shape,
                block=plan.block,
                density=plan.density,
                seed=asked.seed,
                threads=torch.get_num_threads(),
                torch_version=torch.__version__,
                max_error=errors[impl][0],
                first_ms=errors[impl][1],
                ms=ms,
                dense_ms=dense_ms,
                ratio=dense_ms / ms,
                tflops=4 * shape[0] * shape[1] * shape[2] ** 2 * shape[3] * plan.density / ms / 1e9,
            )
            _report(row, asked.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m genkit.benchmarks.block_sparse", description="Sparse against dense."
    )
    parser.add_argument("--tokens", type=int, default=2048, help="video tokens; rounded down to whole frames")
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--density", type=float, default=0.25, help="target for a Radial mask, in (0, 1]")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--width", type=int, default=64, help="of a head")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to which one JSON line is added for each implementation")
    return parser


def _plan(tokens: int, block: int, density: float) -> BlockPlan:
    grid = VideoGrid(frames=FRAMES, rows=1, cols=max(1, tokens // FRAMES))
    plan = radial_plan(grid, block=block, density=density)
    if plan.note:
        print(plan.note)
    return plan


def _usable(q: Tensor, plan: BlockPlan) -> list[Impl]:
    reason = flex.refusal(q, plan, with_lse=False)
    if reason:
        print(f"flex is left out: {reason}")
    return ["reference"] if reason else ["reference", "flex"]


def _error(q: Tensor, k: Tensor, v: Tensor, plan: BlockPlan, impl: Impl) -> tuple[float, float]:
    """Error against the definition in float64, head by head, and the milliseconds of the first call."""
    begin = time.perf_counter()
    out = block_sparse(q, k, v, plan, impl=impl)
    _wait(q)
    first = (time.perf_counter() - begin) * 1e3
    error = 0.0
    for head in range(q.shape[1]):
        at = slice(head, head + 1)
        wide = (x[:, at].double() for x in (q, k, v))
        exact = block_sparse(*wide, plan, impl="reference")
        error = max(error, float((out[:, at] - exact).abs().max()))
    return error, first


def _dense_error(q: Tensor, k: Tensor, v: Tensor) -> float:
    """What eager attention of the same dtype errs on one head."""
    q, k, v = (x[:, :1] for x in (q, k, v))
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    eager = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v
    # Fewer keys average less: the values of a sparse row are as large as those of a row alone.
    return float((eager - exact).abs().max()) * float(v.abs().max() / exact.abs().max())


def _time(work: Callable[[], object], repeats: int) -> float:
    """Median milliseconds after one call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        _wait()
        begin = time.perf_counter()
        work()
        _wait()
        times.append((time.perf_counter() - begin) * 1e3)
    return median(times)


def _wait(like: Tensor | None = None) -> None:
    if torch.cuda.is_available() and (like is None or like.is_cuda):
        torch.cuda.synchronize()


def _report(row: Row, out: Path | None) -> None:
    print(
        f"{row.impl:12} {row.ms:9.2f} ms  {row.ratio:5.2f} x dense  "
        f"first {row.first_ms:.0f} ms  error {row.max_error:.1e}"
    )
    if out is not None:
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
