"""`genkit bench attention`: one attention call of real models, dense by third parties and sparse by genkit, in one run.

For each shape: every dense baseline, then the block-sparse kernel at exact densities, then planners. A baseline that
cannot run here is a line with the reason. Ratios are times of baselines divided by ours in the same run, the planner's
time included.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast, get_args

import torch
from torch import Tensor

from genkit.attention.operators.block_sparse import Impl, auto_impl, block_sparse
from genkit.benchmarks.speed.lines import COLUMNS, line_of
from genkit.benchmarks.speed.planner_time import sparse_plugins, sparse_rule, time_planner
from genkit.benchmarks.timing.baselines import attempt, baselines, reason_of
from genkit.benchmarks.timing.gate import BLOCK, require_correct
from genkit.benchmarks.timing.machine import Timing, choose_device, choose_dtype, dtype_name, facts, heading
from genkit.benchmarks.timing.masks import MASKS, mask_of
from genkit.benchmarks.timing.random_tensors import query_key_value
from genkit.benchmarks.timing.real_models import MODELS, RealModel, find_model
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError, nearest

FORMULA = "4 * B * H * N^2 * D * density / time"
CPU_TOKENS, CPU_HEADS = 4608, 2
"""Maximum size of shapes on a CPU."""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Shapes, kernels and planners to time."""

    shapes: tuple[str, ...] = ()
    """Names of ``MODELS``; empty is all."""
    plugins: tuple[str, ...] | None = None
    """Planners, as ``"radial:density=0.3"``; None is every plug-in with a planner, empty is none."""
    densities: tuple[float, ...] = (1.0, 0.5, 0.3, 0.2, 0.1)
    """Densities of the kernel alone, in (0, 1]; empty is none."""
    masks: tuple[str, ...] = MASKS
    """Arrangement of the kept blocks when the kernel is timed alone."""
    block: int | None = None
    """Tokens of a block when the kernel is timed alone; None is 128 on a GPU and 64 on a CPU."""
    dtype: str | None = None
    """None is bfloat16 on a GPU and float32 on a CPU."""
    device: str | None = None
    """None is the GPU if there is one."""
    impl: Impl = "auto"
    """Implementation of the block-sparse kernel; an explicit choice never falls back."""
    seed: int = 0
    """Seed of the tensors and of scattered masks."""
    repeats: int | None = None
    """Timed calls of each; None is 20 on a GPU and 5 on a CPU."""

    def __post_init__(self) -> None:
        for density in self.densities:
            if not 0 < density <= 1:
                raise UsageError(f"density={density} must be in (0, 1]; 1 keeps everything")
        for mask in self.masks:
            if mask not in MASKS:
                raise UsageError(f"there is no mask called {mask!r}; {nearest(mask, MASKS)}")
        parse_impl(self.impl)
        if self.repeats is not None and self.repeats < 1:
            raise UsageError(f"repeats={self.repeats} must be at least 1")


def parse_impl(name: str) -> Impl:
    """Return the name of an implementation of the block-sparse kernel.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in get_args(Impl):
        raise UsageError(f"impl={name!r} is unknown; {nearest(name, get_args(Impl))}")
    return cast(Impl, name)


def attention(config: AttentionConfig, tell: Tell, say: Say) -> None:
    """Check the kernels, then time; ``tell`` receives every row, ``say`` every line for users.

    Raises:
        UsageError: an unknown name, or an implementation that is not available here.
        WrongKernelError: a kernel is wrong; then nothing is timed.
    """
    device = choose_device(config.device)
    dtype, models = choose_dtype(config.dtype, device), models_for(config.shapes, device)
    plugins = sparse_plugins() if config.plugins is None else config.plugins
    for text in plugins:
        sparse_rule(text, models[0])
    about, block = facts(device), config.block or (128 if device.type == "cuda" else BLOCK)
    say(heading(about, dtype, config.seed))
    with torch.no_grad():
        impls = {impl_of(config.impl, model, dtype, device) for model in models}
        widths = {model.width for model in models}
        for impl in sorted(impls):
            for check in require_correct(impl, dtype, widths, device, blocks=(block, BLOCK)):
                tell({"bench": "check", **check, **about})
        say(f"every kernel is as good as PyTorch in {dtype_name(dtype)} against float64; TFLOP/s is {FORMULA}")
        for model in models:
            q, k, v = query_key_value(model.grid, model.heads, model.width, dtype, device, config.seed)
            Shape(config, model, block, tuple(plugins), about, tell, say).run(q, k, v)


def models_for(names: tuple[str, ...], device: torch.device) -> list[RealModel]:
    """Return the real models on a GPU, and scaled-down ones on a CPU."""
    models = [find_model(name) for name in names or MODELS]
    return models if device.type == "cuda" else [model.scale(CPU_TOKENS, CPU_HEADS) for model in models]


def impl_of(asked: Impl, model: RealModel, dtype: torch.dtype, device: torch.device) -> str:
    """Return the implementation that ``auto`` means for a shape, so that it can be checked."""
    if asked != "auto":
        return asked
    q = torch.empty(1, 1, model.grid.tokens, model.width, dtype=dtype, device=device)
    return auto_impl(q, q, q)


@dataclass
class Shape:
    """One shape, from its first baseline to its last planner."""

    config: AttentionConfig
    model: RealModel
    block: int
    plugins: tuple[str, ...]
    about: Row
    tell: Tell
    say: Say
    dense: dict[str, float] = field(default_factory=dict)
    """Milliseconds of the baselines that ran."""

    def run(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        """Time everything on ``[1, H, N, D]``."""
        model = self.model
        self.say(f"\n{model.title}: {list(q.shape)} as {model.volume}, text {model.text}; {model.scaling}".rstrip("; "))
        self.say(COLUMNS)
        repeats = self.config.repeats or (20 if q.is_cuda else 5)
        for name, attend in baselines().items():
            found = attempt(lambda attend=attend: attend(q, k, v), q.device, repeats)  # type: ignore[misc]
            if isinstance(found, Timing):
                self.dense[name] = found.ms
            self._report(q, name, "baseline", found, density=1.0)
        for density in self.config.densities:
            for mask in self.config.masks[: 1 if density == 1 else None]:
                self._kernel(q, k, v, mask, density, repeats)
        for text in self.plugins:
            self._planner(q, k, v, text, repeats)

    def _kernel(self, q: Tensor, k: Tensor, v: Tensor, mask: str, density: float, repeats: int) -> None:
        heads, block = q.shape[1], self.block
        plan = mask_of(mask, self.model.grid, heads, block=block, density=density, seed=self.config.seed)
        plan = plan.to(q.device)
        impl = auto_impl(q, k, v) if self.config.impl == "auto" else self.config.impl
        found = attempt(lambda: block_sparse(q, k, v, plan, impl=impl), q.device, repeats)
        name = "block_sparse, all" if density == 1 else f"block_sparse, {mask} {density:g}"
        self._report(q, name, "kernel", found, density=plan.density, asked=density, mask=mask, impl=impl, block=block)

    def _planner(self, q: Tensor, k: Tensor, v: Tensor, text: str, repeats: int) -> None:
        rule = sparse_rule(text, self.model)
        try:
            found = time_planner(rule, self.model, q, k, v, impl=self.config.impl, repeats=repeats)
        except Exception as error:  # compilers of kernels may raise anything
            found = reason_of(error)
        if isinstance(found, str):
            self._report(q, text, "planner", found)
        else:
            self._report(q, text, "planner", found.whole, **found.parts())

    def _report(self, q: Tensor, name: str, kind: str, found: Timing | str, **more: Any) -> None:
        """Write one row; the kept pairs of a planner are those of its attention alone."""
        row = self._place(q) | {"side": name, "kind": kind} | more
        if isinstance(found, str):
            row |= {"unavailable": found}
        else:
            alone = more.get("attention_ms", found.ms)
            row |= asdict(found) | {
                "unavailable": None,
                "tflops": tflops(q.shape, more["density"], alone),
                "ratios": {name: ms / found.ms for name, ms in self.dense.items()},
            }
        self.tell(row)
        self.say(line_of(row))

    def _place(self, q: Tensor) -> Row:
        """Return the facts that every row of the shape contains."""
        model = self.model
        return {
            "bench": "attention",
            "shape": model.name,
            "tensor": list(q.shape),
            "volume": list(model.volume),
            "text": model.text,
            "scaled_from": model.scaled_from,
            "dtype": dtype_name(q.dtype),
            "seed": self.config.seed,
            "tflops_is": FORMULA,
            **self.about,
        }


def tflops(shape: Sequence[int], density: float, ms: float) -> float:
    """Compute useful FLOPs per second of attention on ``[B, H, N, D]``: two products of all kept pairs, in 1e12."""
    batch, heads, tokens, width = shape
    return 4 * batch * heads * tokens**2 * width * density / ms / 1e9
