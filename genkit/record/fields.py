"""The fields of a receipt, as pydantic models: what JSON holds of a run and what a reader gets back."""

import math
import numbers
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor

    from genkit.attention.calls.run import Run


def plain(value: Any) -> Any:
    """``value`` as JSON values that read back as themselves; what JSON cannot hold becomes its text."""
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
    """A part of the receipt: it cannot be changed, and unknown fields or NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Density(Record):
    """How much of the attention a plug-in computed, over its sparse calls."""

    calls: int = Field(description="Number of sparse calls.")
    mean: float = Field(description="Mean share of the query-key pairs that were computed.")
    min: float = Field(description="The sparsest call.")
    max: float = Field(description="The densest call.")


class Refusal(Record):
    """Calls that a plug-in let pass unchanged."""

    plugin: str = Field(description="Which plug-in.")
    reason: str = Field(description="Why, as a sentence.")
    layers: tuple[str, ...] = Field(description="In which layers.")
    steps: tuple[int, ...] = Field(default=(), description="In which solver steps, 0 first.")
    calls: int = Field(description="How many calls in all.")

    @classmethod
    def of(cls, plugin: str, reason: str, where: Counter[tuple[str, int]]) -> "Refusal":
        """Sum up how often it was in each layer and step."""
        layers, steps = (dict.fromkeys(part) for part in zip(*where, strict=True))
        return cls(
            plugin=plugin, reason=reason, layers=tuple(layers), steps=tuple(sorted(steps)), calls=sum(where.values())
        )


class Skipped(Record):
    """Attention calls of one model that a step cache left out, because it reused what earlier steps computed."""

    calls: int = Field(description="Number of calls that were left out.")
    of: int = Field(description="Number of calls that there would have been without a cache.")
    layers: dict[str, int] = Field(description="Calls that were left out, by layer; 0 for layers it did not skip.")


class Attention(Record):
    """What happened to the attention calls."""

    layers: int = Field(default=0, description="Layers whose calls went through the plug-ins.")
    calls: int = Field(default=0, description="Calls that went through the plug-ins.")
    densities: dict[str, Density] = Field(default={}, description="Sparse calls by plug-in.")
    backends: dict[str, int] = Field(default={}, description="Calls by the implementation that did them.")
    refusals: tuple[Refusal, ...] = Field(default=(), description="Calls that did not run as asked.")
    skipped: dict[str, Skipped] = Field(default={}, description="Calls that a step cache left out, by model.")

    @classmethod
    def from_run(cls, run: "Run") -> "Attention":
        """Sum up the record that the attention hooks kept."""
        return cls(
            layers=len(run.routed),
            calls=sum(run.routed.values()),
            densities={plugin: _density(shares) for plugin, shares in run.densities.items() if shares},
            backends=dict(run.backends),
            refusals=tuple(Refusal.of(plugin, reason, where) for (plugin, reason), where in run.refusals.items()),
            skipped=_skipped(run),
        )


class Seconds(Record):
    """Where the time went; None where a stage did not take place or was not measured."""

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
    device: str = Field(description="Where it ran.")
    dtype: str = Field(description="Number format of the weights.")
    seed: int = Field(description="The seed, also if it was drawn.")
    frames_asked: int | None = Field(default=None, description="Frames asked for; None left it to the model.")
    frames: int = Field(description="Frames made.")
    height: int = Field(description="Rows of pixels.")
    width: int = Field(description="Columns of pixels.")
    fps: float = Field(description="Frames per second.")
    arguments: Annotated[dict[str, Any], BeforeValidator(plain)] = Field(
        default={}, description="The other arguments the pipeline was called with, after all defaults."
    )
    plugins: tuple[str, ...] = Field(default=(), description="Plug-ins in their textual form, in order of effect.")
    attention: Attention = Field(
        default=Attention(), description="Attention calls: how many, how dense, what was refused."
    )
    notes: tuple[str, ...] = Field(default=(), description="Everything that was adjusted, as sentences.")
    seconds: Seconds = Field(default=Seconds(), description="Where the time went.")
    peak_memory_bytes: int | None = Field(default=None, description="See peak_memory_bytes() for what is counted.")
    started: str = Field(description="When, as ISO 8601 with time zone.")
    versions: dict[str, str] = Field(default={}, description="Versions of Python and of the packages that matter.")


def _skipped(run: "Run") -> dict[str, Skipped]:
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


def _density(told: "Sequence[float | Tensor]") -> Density:
    shares = [float(share) for share in told]
    return Density(calls=len(shares), mean=math.fsum(shares) / len(shares), min=min(shares), max=max(shares))
