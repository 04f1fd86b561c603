"""`genkit bench step`: one denoising step of a real-size transformer with random weights, dense against sparse.

A step is one forward of the transformer past the warm-up, through the same hooks as in a user's pipeline, without the
solver, the text encoders and the video decoder. Dense is the same pipeline without genkit. Where guidance runs two
forwards a step (Wan), one of them is timed: the ratio is the same.
"""

import gc
from dataclasses import asdict, dataclass
from typing import Any

import torch

import genkit
from genkit.attention.calls.run import RunRecord
from genkit.attention.model.session import Session
from genkit.benchmarks.speed.attention import impl_of, parse_impl
from genkit.benchmarks.timing.baselines import attempt
from genkit.benchmarks.timing.gate import require_correct
from genkit.benchmarks.timing.machine import Timing, choose_device, choose_dtype, dtype_name, facts, heading
from genkit.benchmarks.timing.random_models import arguments, parameters_of, pipeline_of
from genkit.benchmarks.timing.real_models import RealModel, find_model
from genkit.benchmarks.timing.results import Row, Say, Tell
from genkit.errors import UsageError
from genkit.plugins import catalogue
from genkit.plugins.contract import Plugin

CPU_TOKENS, CPU_HEADS, CPU_LAYERS = 1536, 2, 3
"""Maximum size of models on a CPU; layers of each kind."""


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Models and plug-ins to time."""

    models: tuple[str, ...] = ("wan-14b-720p", "hunyuan-720p")
    """Names of ``MODELS``."""
    plugins: tuple[str, ...] = ("threshold", "radial:density=0.3")
    """Each by itself, compared with dense."""
    dtype: str | None = None
    """None is bfloat16 on a GPU and float32 on a CPU."""
    device: str | None = None
    """None is the GPU if there is one."""
    seed: int = 0
    """Seed of weights and inputs."""
    repeats: int | None = None
    """Timed steps of each; None is 5 on a GPU and 3 on a CPU."""

    def __post_init__(self) -> None:
        if self.repeats is not None and self.repeats < 1:
            raise UsageError(f"repeats={self.repeats} must be at least 1")


def plugin_of(text: str) -> Plugin:
    """Return the plug-in of a text such as ``"radial:density=0.3"``.

    Raises:
        UsageError: no such plug-in, or one that does nothing inside a step.
    """
    plugin = catalogue.parse(text)
    if "attention" not in plugin.seams:
        raise UsageError(
            f"{text!r} changes nothing inside one step, so its gain cannot be measured there; time whole videos"
        )
    return plugin


def step(config: StepConfig, tell: Tell, say: Say) -> None:
    """Check the kernels, then time; ``tell`` receives every row, ``say`` every line for users.

    Raises:
        UsageError: an unknown name, or an implementation that is not available here.
        WrongKernelError: a kernel is wrong; then nothing is timed.
    """
    device = choose_device(config.device)
    dtype, models = choose_dtype(config.dtype, device), [find_model(name) for name in config.models]
    if device.type == "cpu":
        models = [model.scale(CPU_TOKENS, CPU_HEADS, CPU_LAYERS) for model in models]
    about = facts(device)
    with torch.no_grad():
        for impl in sorted({impl for model in models for impl in _impls(config, model, dtype, device)}):
            for check in require_correct(impl, dtype, {model.width for model in models}, device):
                tell({"bench": "check", **check, **about})
        say(heading(about, dtype, config.seed))
        for model in models:
            _Model(config, model, about, tell, say).run(dtype, device)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _impls(config: StepConfig, model: RealModel, dtype: torch.dtype, device: torch.device) -> set[str]:
    """Return the implementations that the plug-ins will use."""
    asked = {getattr(plugin_of(text), "impl", "auto") for text in config.plugins}
    return {impl_of(parse_impl(impl), model, dtype, device) for impl in asked}


@dataclass
class _Model:
    """One model, dense and then with one plug-in after the other."""

    config: StepConfig
    model: RealModel
    about: Row
    tell: Tell
    say: Say
    dense_ms: float | None = None

    def run(self, dtype: torch.dtype, device: torch.device) -> None:
        model, repeats = self.model, self.config.repeats or (5 if device.type == "cuda" else 3)
        try:
            pipe = pipeline_of(model, dtype, device, self.config.seed)
        except torch.OutOfMemoryError:
            self.say(f"{model.title}: its weights do not fit into the memory of this device")
            return
        given, size = arguments(model, pipe, dtype, device, self.config.seed), parameters_of(pipe.transformer)
        self.about = self.about | {"dtype": dtype_name(dtype), "parameters": size}
        layers = " + ".join(map(str, model.layers.values()))
        self.say(
            f"\n{model.title}: {size / 1e6:,.1f} million random weights, {layers} layers, {model.grid.tokens:,} tokens"
            + (f"; {model.scaling}" if model.scaling else "")
        )
        dense = attempt(lambda: pipe.transformer(**given), device, repeats)
        self.dense_ms = dense.ms if isinstance(dense, Timing) else None
        self._report("dense", dense, None)
        for text in self.config.plugins:
            self._sparse(pipe, given, text, device, repeats)

    def _sparse(self, pipe: Any, given: Row, text: str, device: torch.device, repeats: int) -> None:
        try:
            with genkit.apply(pipe, plugin_of(text)) as handle:
                run = handle.begin_run(self.model.published.fps)
                handle.session.batch = 1
                found = attempt(lambda: pipe.transformer(**given), device, repeats)
                self._report(text, found, _record(run, handle.session))
        except UsageError as error:
            self._report(text, str(error), None)

    def _report(self, side: str, found: Timing | str, record: Row | None) -> None:
        model = self.model
        row = {"bench": "step", "model": model.name, "side": side, "volume": list(model.volume), "text": model.text}
        row |= {"tokens": model.grid.tokens, "heads": model.heads, "layers": model.layers, "batch": model.batch}
        row |= {"scaled_from": model.scaled_from, "seed": self.config.seed, **self.about}
        if isinstance(found, str):
            row |= {"unavailable": found}
        else:
            ratio = None if self.dense_ms is None else self.dense_ms / found.ms
            row |= asdict(found) | {"unavailable": None, "ratio": ratio} | (record or {})
        self.tell(row)
        self.say(line_of(row))


def _record(run: RunRecord, session: Session) -> Row:
    """Return what attention over all frames did: mean density where sparse, share of sparse calls, and refusals."""
    densities = [float(x) for found in run.densities.values() for x in found]
    layers = [f"{x.component}.{x.name}" for x in session.layers if x.kind in ("self", "joint")]
    return {
        "density": sum(densities) / len(densities) if densities else None,
        "sparse_share": len(densities) / max(1, sum(run.routed[name] for name in layers)),
        "backends": dict(run.backends),
        "refused": {f"{name}: {reason}": sum(where.values()) for (name, reason), where in run.refusals.items()},
        "notes": run.notes,
    }


def line_of(row: Row) -> str:
    """Return one row as text."""
    name = f"{row['side']:34}"
    if row["unavailable"]:
        return f"{name}{row['unavailable']}"
    memory = "" if row["peak_bytes"] is None else f", {row['peak_bytes'] / 2**30:.1f} GiB beside the weights"
    time = f"{row['ms']:10.1f} ms ({row['low_ms']:.1f} .. {row['high_ms']:.1f}){memory}"
    if row["side"] == "dense" or row["ratio"] is None:
        return f"{name}{time}"
    density = "nothing was left out" if row["density"] is None else f"density {row['density']:.3f}"
    share = f"{density} in {row['sparse_share']:.0%} of the calls over all frames"
    verdict = "" if row["ratio"] >= 1 else "; dense is faster here"
    refused = "".join(f"\n{'':34}refused {count} times: {why}" for why, count in row["refused"].items())
    return f"{name}{time}, {row['ratio']:.2f} x dense, {share}{verdict}{refused}"
