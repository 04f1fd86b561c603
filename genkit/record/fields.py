"""Fields of a receipt, as pydantic models: the record of a run as stored in JSON."""

import math
import numbers
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor

    from genkit.attention.calls.run import RunRecord


def plain(value: Any) -> Any:
    """Convert ``value`` to JSON values that read back unchanged; others become their text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    return str(value)


class Record(BaseModel):
    """Part of the receipt: immutable; unknown fields and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Density(Record):
    """Share of attention that a plug-in computed, over its sparse calls."""

    calls: int = Field(description="Number of sparse calls.")
    mean: float = Field(description="Mean share of the query-key pairs that were computed.")
    min: float = Field(description="The sparsest call.")
    max: float = Field(description="The densest call.")


class Refusal(Record):
    """Calls that a plug-in let pass unchanged."""

    plugin: str = Field(description="Name of the plug-in.")
    reason: str = Field(description="Reason, as a sentence.")
    layers: tuple[str, ...] = Field(description="Layers concerned.")
    steps: tuple[int, ...] = Field(default=(), description="Solver steps concerned, 0 first.")
    calls: int = Field(description="Number of calls.")

    @classmethod
    def of(cls, plugin: str, reason: str, where: Counter[tuple[str, int]]) -> "Refusal":
        """Count the calls by layer and step."""
        layers, steps = (dict.fromkeys(part) for part in zip(*where, strict=True))
        return cls(
            plugin=plugin, reason=reason, layers=tuple(layers), steps=tuple(sorted(steps)), calls=sum(where.values())
        )


class Skipped(Record):
    """Attention calls of one model that a step cache skipped by reusing what earlier steps computed."""

    calls: int = Field(description="Number of skipped calls.")
    of: int = Field(description="Number of calls without a cache.")
    layers: dict[str, int] = Field(description="Skipped calls by layer; 0 for layers that were not skipped.")


class Attention(Record):
    """Summary of the attention calls."""

    layers: int = Field(default=0, description="Layers routed through the plug-ins.")
    calls: int = Field(default=0, description="Calls routed through the plug-ins.")
    densities: dict[str, Density] = Field(default={}, description="Sparse calls by plug-in.")
    backends: dict[str, int] = Field(default={}, description="Calls by implementation.")
    refusals: tuple[Refusal, ...] = Field(default=(), description="Calls that did not run as requested.")
    skipped: dict[str, Skipped] = Field(default={}, description="Calls that a step cache skipped, by model.")

    @classmethod
    def from_run(cls, run: "RunRecord") -> "Attention":
        """Summarise the record of the attention hooks."""
        return cls(
            layers=len(run.routed),
            calls=sum(run.routed.values()),
            densities={plugin: _density(shares) for plugin, shares in run.densities.items() if shares},
            backends=dict(run.backends),
            refusals=tuple(Refusal.of(plugin, reason, where) for (plugin, reason), where in run.refusals.items()),
            skipped=_skipped(run),
        )


class Seconds(Record):
    """Duration of each stage; None if it did not take place or was not measured."""

    load: float | None = Field(default=None, description="Reading and building the model.")
    denoise: float | None = Field(default=None, description="All solver steps.")
    per_step: float | None = Field(default=None, description="Mean of one solver step.")
    decode: float | None = Field(default=None, description="Latents to frames.")
    total: float | None = Field(default=None, description="The whole generation, without load.")


class Fields(Record):
    """Everything that a receipt says."""

    model: str = Field(description="Name, hub id or folder of the model.")
    family: str | None = Field(default=None, description="Family of the model, None if it is unknown.")
    pipeline: str = Field(description="Class of the diffusers pipeline.")
    device: str = Field(description="Device it ran on.")
    dtype: str = Field(description="Data type of the weights.")
    opened: dict[str, str] = Field(
        default={}, description="How the model was opened: solver, files, LoRA, how its weights are stored."
    )
    seed: int | None = Field(
        description="The seed, even if it was drawn; None: of a direct call, whose noise is the caller's."
    )
    frames_asked: int | None = Field(default=None, description="Frames requested; None left it to the model.")
    frames: int | None = Field(description="Frames made; None: of a direct call.")
    height: int | None = Field(description="Rows of pixels; None: the pipeline's default, in a direct call.")
    width: int | None = Field(description="Columns of pixels; None: the pipeline's default, in a direct call.")
    fps: float | None = Field(description="Frames per second; None: of a direct call.")
    arguments: Annotated[dict[str, Any], BeforeValidator(plain)] = Field(
        default={}, description="Other arguments of the pipeline's call, including defaults."
    )
    plugins: tuple[str, ...] = Field(default=(), description="Plug-ins in their textual form, in order of effect.")
    attention: Attention = Field(
        default=Attention(), description="Attention calls: how many, how dense, what was refused."
    )
    notes: tuple[str, ...] = Field(default=(), description="All adjustments, as sentences.")
    seconds: Seconds = Field(default=Seconds(), description="Duration of each stage.")
    peak_memory_bytes: int | None = Field(default=None, description="See peak_memory_bytes() for what is counted.")
    started: str = Field(description="Start time, as ISO 8601 with time zone.")
    versions: dict[str, str] = Field(default={}, description="Versions of Python and of relevant packages.")


def _skipped(run: "RunRecord") -> dict[str, Skipped]:
    found: dict[str, dict[str, int]] = {}
    for key, calls in run.skipped.items():
        model, _, layer = key.partition(".")
        found.setdefault(model, {})[layer] = calls
    return {
        model: Skipped(
            calls=sum(layers.values()),
            of=sum(calls + run.routed[f"{model}.{layer}"] for layer, calls in layers.items()),
            layers=layers,
        )
        for model, layers in found.items()
    }


def _density(given: "Sequence[float | Tensor]") -> Density:
    shares = [float(share) for share in given]
    return Density(calls=len(shares), mean=math.fsum(shares) / len(shares), min=min(shares), max=max(shares))
