"""Fields of a receipt that say which model ran on what."""

from typing import Any

from genkit.attention.facts.card import Card
from genkit.attention.model.session import Session
from genkit.attention.private import EXECUTION_DEVICE, MODULAR_SOURCE, SOURCE
from genkit.opening.stated import rows_of
from genkit.record.receipt import peak_memory_bytes


def where(pipe: Any, card: Card, session: Session) -> dict[str, Any]:
    """Return the fields of the receipt that say which model ran on what."""
    device = str(EXECUTION_DEVICE.read(pipe))
    model = next(iter(session.models.values()))
    return {
        "model": _model_name(pipe),
        "family": card.family,
        "pipeline": type(pipe).__name__,
        "device": device,
        "dtype": str(model.dtype).removeprefix("torch."),
        "peak_memory_bytes": peak_memory_bytes(device),
        "opened": rows_of(pipe),
    }


def _model_name(pipe: Any) -> str:
    from genkit.tiny import TINY_WEIGHTS

    path = str(SOURCE.find(pipe.config) or MODULAR_SOURCE.find(pipe) or type(pipe).__name__)
    return "tiny" if path == str(TINY_WEIGHTS) else path
