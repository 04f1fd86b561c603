"""How a model was opened, for recipe and receipt: what ``genkit.load`` did, and what the pipeline itself shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genkit.opening.lora import OURS
from genkit.opening.solver import solver_of
from genkit.opening.stored import DENOISERS

_KEY = "_genkit_opened"
STORED = ("offload", "layerwise", "compile")
"""Fields that are rows of the receipt as they are."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What ``genkit.load`` did to a pipeline."""

    request: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that say it again, in JSON values."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Rows of the receipt."""
    notes: Sequence[str] = ()
    """What did not work as asked, as sentences."""


def set_opened(pipe: Any, opened: Opened) -> None:
    """Record in a pipeline how it was opened; the last time counts."""
    pipe.__dict__[_KEY] = opened


def opened_of(pipe: Any) -> Opened:
    """Return how a pipeline was opened; empty if ``genkit.load`` did not open it."""
    found: Opened = pipe.__dict__.get(_KEY, Opened())
    return found


def rows_of(pipe: Any) -> dict[str, str]:
    """Return the rows of a receipt: the solver, quantised weights, and what ``genkit.load`` did and is still there."""
    about, active = dict(opened_of(pipe).about), _active_loras(pipe)
    if not any(name.startswith(OURS) for name in active):
        about.pop("lora", None)
    others = [name for name in active if not name.startswith(OURS)]
    by_hand = {"other lora": ", ".join(others)} if others else {}
    return {"solver": solver_of(pipe)} | _quantised(pipe) | _how(pipe) | about | by_hand


def request_of(pipe: Any) -> dict[str, Any]:
    """Return the fields of a request that open a model as this one was, without a LoRA that acts no longer."""
    fields = dict(opened_of(pipe).request)
    if not any(name.startswith(OURS) for name in _active_loras(pipe)):
        fields.pop("lora", None)
    return fields


def _how(pipe: Any) -> dict[str, str]:
    return {name: str(value) for name, value in opened_of(pipe).request.items() if name in STORED}


def _active_loras(pipe: Any) -> list[str]:
    """Return the names by which diffusers knows the LoRA that act in a pipeline."""
    if not any(hasattr(getattr(pipe, name, None), "peft_config") for name in DENOISERS):
        return []
    return list(pipe.get_active_adapters())


def _quantised(pipe: Any) -> dict[str, str]:
    found = {}
    for name in DENOISERS:
        quantizer = getattr(getattr(pipe, name, None), "hf_quantizer", None)
        if quantizer is not None:
            method = getattr(quantizer.quantization_config, "quant_method", "unknown method")
            found[name] = f"quantised by {getattr(method, 'value', method)}"
    return {"weights": ", ".join(f"{name} {how}" for name, how in found.items())} if found else {}
