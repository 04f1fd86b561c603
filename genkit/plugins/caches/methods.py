"""Step caches: a model reuses what it computed in earlier steps. The caches are diffusers' own, switched on and off.

Fields have diffusers' names and defaults. docs/caching.md describes what each method skips, and where it can work.
"""

import inspect
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn

from genkit.attention.calls.call import Step
from genkit.attention.calls.devices import devices_of
from genkit.attention.model.session import Session
from genkit.attention.private import CROSS_ATTENTION, cache_hooks, measured_ratios
from genkit.errors import UsageError
from genkit.plugins.contract import CachePlan, Parts, Target

CLAIMS = frozenset({"step cache"})
Timesteps = Annotated[tuple[int, int], "two timesteps joined by x"]
Ratios = Annotated[tuple[float, ...], "numbers joined by x"]


@dataclass(frozen=True, kw_only=True)
class PyramidAttentionBroadcast:
    """A step cache: in the middle of the run attention is computed in every other step, and its output used twice.

    Source: arXiv 2408.12588. Feed-forward layers are computed in every step.
    """

    name: ClassVar[str] = "pab"
    title: ClassVar[str] = "Pyramid Attention Broadcast"
    paper: ClassVar[str] = "arXiv 2408.12588"
    seams: ClassVar[tuple[str, ...]] = ("step",)
    claims: ClassVar[frozenset[str]] = CLAIMS

    spatial_attention_block_skip_range: int | None = 2
    """Self-attention is computed once in this many steps; 1 computes all, None leaves it alone."""
    cross_attention_block_skip_range: int | None = None
    """The same for separate attention to the text; 1 computes all, None leaves it alone."""
    spatial_attention_timestep_skip_range: Timesteps = (100, 800)
    """Self-attention is reused only between these timesteps; 1000 is pure noise, 0 the finished video."""
    cross_attention_timestep_skip_range: Timesteps = (100, 800)
    """The same for attention to the text."""

    def __post_init__(self) -> None:
        if self.spatial_attention_block_skip_range is None and self.cross_attention_block_skip_range is None:
            raise UsageError("pab: spatial_ and cross_attention_block_skip_range are both None; give one of them")
        for kind in ("spatial", "cross"):
            _check_least(self, 1, f"{kind}_attention_block_skip_range")
            low, high = getattr(self, f"{kind}_attention_timestep_skip_range")
            if not low < high:
                raise UsageError(
                    f"pab: {kind}_attention_timestep_skip_range={low}x{high} must be two timesteps, the lower first"
                )

    def parts(self, target: Target) -> Parts:
        """Return the cache for a target."""
        return Parts(cache=CachePlan(name=self.name, config=self._config))

    def _config(self, session: Session, model: nn.Module, steps: int) -> Any:
        crossed = any(CROSS_ATTENTION.find(module) for module in model.modules())
        if self.cross_attention_block_skip_range is not None and not crossed:
            raise UsageError(
                f"pab: cross_attention_block_skip_range={self.cross_attention_block_skip_range} has no effect on "
                f"{session.card.title}, where diffusers recognises no layer as attention to the text; leave it out"
            )
        return _diffusers("PyramidAttentionBroadcastConfig")(
            spatial_attention_block_skip_range=self.spatial_attention_block_skip_range,
            cross_attention_block_skip_range=self.cross_attention_block_skip_range,
            spatial_attention_timestep_skip_range=self.spatial_attention_timestep_skip_range,
            cross_attention_timestep_skip_range=self.cross_attention_timestep_skip_range,
            current_timestep_callback=session.timestep,
        )


@dataclass(frozen=True, kw_only=True)
class FirstBlockCache:
    """A step cache: while the first block changes little from step to step, the others are not computed.

    Source: "ParaAttention", after TeaCache, arXiv 2411.19108. The last residual of the other blocks is added again. The
    change is measured over all videos of a batch together.
    """

    name: ClassVar[str] = "first-block-cache"
    title: ClassVar[str] = "First Block Cache"
    paper: ClassVar[str] = "arXiv 2411.19108"
    seams: ClassVar[tuple[str, ...]] = ("step",)
    claims: ClassVar[frozenset[str]] = CLAIMS

    threshold: float = 0.05
    """Largest relative change of the first block's residual that still counts as little; 0 computes all steps."""

    def __post_init__(self) -> None:
        _check_least(self, 0, "threshold")

    def parts(self, target: Target) -> Parts:
        """Return the cache for a target."""
        return Parts(cache=CachePlan(name=self.name, config=self._config, after=_note_batch))

    def _config(self, session: Session, model: nn.Module, steps: int) -> Any:
        _check_one_device(self.name, model)
        _check_blocks(self.name, session, model)
        return _diffusers("FirstBlockCacheConfig")(threshold=self.threshold)


def _note_batch(session: Session, model: nn.Module, step: Step) -> None:
    """Note that one decision applies to several videos."""
    if session.batch is not None and session.batch > 1:
        session.run.note(
            f"first-block-cache: the {session.batch} videos of the batch skip the same steps, so each may differ from "
            "the one that is made alone"
        )


@dataclass(frozen=True, kw_only=True)
class MagCache:
    """A step cache: all blocks are skipped where the size of their residual is known to stay the same between steps.

    Source: arXiv 2506.09045. The sizes depend on the model and are measured by one run with ``calibrate``.
    """

    name: ClassVar[str] = "mag-cache"
    title: ClassVar[str] = "MagCache"
    paper: ClassVar[str] = "arXiv 2506.09045"
    seams: ClassVar[tuple[str, ...]] = ("step",)
    claims: ClassVar[frozenset[str]] = CLAIMS

    mag_ratios: Ratios = ()
    """Size of the blocks' residual in each step over that in the previous step; the nearest ones are used if the run
    has another number of steps. Required unless ``calibrate`` is on."""
    threshold: float = 0.06
    """Largest accumulated error of the size at which blocks are still skipped; 0 skips only where nothing changes."""
    max_skip_steps: int = 3
    """Maximum number of consecutive steps that are skipped; 0 skips none."""
    retention_ratio: float = 0.2
    """Share of the steps, from the first, in which none is skipped."""
    calibrate: bool = False
    """True measures ``mag_ratios`` instead: nothing is skipped, and the receipt contains them."""

    def __post_init__(self) -> None:
        _check_least(self, 0, "threshold", "max_skip_steps")
        if not 0 <= self.retention_ratio <= 1:
            raise UsageError(
                f"mag-cache: retention_ratio={self.retention_ratio} is a share of the steps and must be in [0, 1]"
            )
        if bool(self.mag_ratios) == self.calibrate:
            raise UsageError(
                "mag-cache needs mag_ratios, which depend on the model, its solver and its number of steps: make one "
                "video with mag-cache:calibrate=true, and pass the mag_ratios from its receipt, without calibrate"
            )
        if wrong := [ratio for ratio in self.mag_ratios if not 0 < ratio < math.inf]:
            raise UsageError(f"mag-cache: mag_ratios contains {wrong[0]}; all must be finite numbers above 0")

    def parts(self, target: Target) -> Parts:
        """Return the cache for a target."""
        after = _note_ratios if self.calibrate else None
        return Parts(cache=CachePlan(name=self.name, config=self._config, after=after))

    def _config(self, session: Session, model: nn.Module, steps: int) -> Any:
        if len(session.models) > 1:
            raise UsageError(
                f"mag-cache counts the steps of one model, and {session.card.title} uses another one in the middle of "
                "a run; use first-block-cache for it"
            )
        _check_one_device(self.name, model)
        return _diffusers("MagCacheConfig")(
            threshold=self.threshold,
            max_skip_steps=self.max_skip_steps,
            retention_ratio=self.retention_ratio,
            num_inference_steps=_NEVER if self.calibrate else steps,
            mag_ratios=list(self.mag_ratios) or None,
            calibrate=self.calibrate,
        )


_NEVER = 10**9
"""More steps than a run has: at the last one diffusers would print the ratios and forget them."""


def _note_ratios(session: Session, model: nn.Module, step: Step) -> None:
    """Note the measured ratios after the last step; of two guidance branches those of the prompt."""
    if step.index + 1 < step.total or "cond" not in step.branches:
        return
    measured = measured_ratios(next(cache_hooks(model)))
    ratios = "x".join(f"{ratio:.5f}" for ratio in measured)
    session.run.note(f"mag-cache: measured in {step.total} steps of this model, to be given as mag_ratios={ratios}")


@dataclass(frozen=True, kw_only=True)
class TaylorSeer:
    """A step cache: in most steps the outputs of attention are extrapolated from earlier steps.

    Source: arXiv 2503.06923.
    """

    name: ClassVar[str] = "taylor-seer"
    title: ClassVar[str] = "TaylorSeer"
    paper: ClassVar[str] = "arXiv 2503.06923"
    seams: ClassVar[tuple[str, ...]] = ("step",)
    claims: ClassVar[frozenset[str]] = CLAIMS

    cache_interval: int = 5
    """One step in this many is computed, the others are extrapolated; 1 computes all."""
    disable_cache_before_step: int = 3
    """Number of first steps that are computed; at least 1."""
    disable_cache_after_step: int | None = None
    """Step from which all are computed; None is never."""
    max_order: int = 1
    """Order of the extrapolation: 0 repeats, 1 is a straight line; each order keeps one more copy of the outputs."""
    taylor_factors_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Number format of the stored outputs."""
    use_lite_mode: bool = False
    """True skips whole blocks and extrapolates only the model's output, which stores far less."""

    def __post_init__(self) -> None:
        _check_least(self, 1, "cache_interval", "disable_cache_before_step")
        _check_least(self, 0, "max_order", "disable_cache_after_step")
        if self.taylor_factors_dtype not in ("bfloat16", "float16", "float32"):
            raise UsageError(
                f"taylor-seer: taylor_factors_dtype={self.taylor_factors_dtype!r} must be 'bfloat16', 'float16' or "
                "'float32'"
            )

    def parts(self, target: Target) -> Parts:
        """Return the cache for a target."""
        return Parts(cache=CachePlan(name=self.name, config=self._config))

    def _config(self, session: Session, model: nn.Module, steps: int) -> Any:
        # diffusers' own patterns end in "attn", which matches all layers of HunyuanVideo and none of other families.
        layers = None if self.use_lite_mode else list(session.facts_of(model).layers.values())
        return _diffusers("TaylorSeerCacheConfig")(
            cache_interval=self.cache_interval,
            disable_cache_before_step=self.disable_cache_before_step,
            disable_cache_after_step=self.disable_cache_after_step,
            max_order=self.max_order,
            taylor_factors_dtype=getattr(torch, self.taylor_factors_dtype),
            cache_identifiers=layers,
            use_lite_mode=self.use_lite_mode,
        )


def _check_least(plugin: Any, least: int, *fields: str) -> None:
    for field in fields:
        value = getattr(plugin, field)
        if value is not None and not value >= least:
            raise UsageError(f"{plugin.name}: {field}={value} must be at least {least}")


def _check_one_device(name: str, model: nn.Module) -> None:
    if devices_of(model) is not None:
        raise UsageError(
            f"{name}: several devices share the tokens of this {type(model).__name__}, and diffusers' cache compares "
            "the whole of them with a part; use taylor-seer or pab, or leave the cache out"
        )


def _check_blocks(name: str, session: Session, model: nn.Module) -> None:
    """Refuse a model whose blocks call their tokens otherwise: diffusers' hook asks for ``hidden_states``."""
    blocks = [part[0] for part in model.children() if isinstance(part, nn.ModuleList) and len(part)]
    if blocks and not any("hidden_states" in inspect.signature(type(one).forward).parameters for one in blocks):
        raise UsageError(
            f"{name} compares the hidden_states of a block between steps, and the blocks of {session.card.title} take "
            "their tokens under another name; use pab or taylor-seer, or leave the cache out"
        )


def _diffusers(name: str) -> Any:
    """Import a configuration class of diffusers."""
    import diffusers.hooks

    if not hasattr(diffusers.hooks, name):
        raise UsageError(f"diffusers {diffusers.__version__} has no {name}; install diffusers 0.42 or newer")
    return getattr(diffusers.hooks, name)
