"""Short runs of a pipeline with the same arguments, and what they answer."""

from typing import Any

import torch
from torch import Tensor

from genkit.attention.facts.volume import Arguments
from genkit.attention.model.order.hoist import leaves


def again(arguments: Arguments) -> Arguments:
    """Return the arguments of a call with generators that begin where they began."""
    return {name: _reseeded(value) for name, value in arguments.items()}


def _reseeded(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).manual_seed(value.initial_seed())
    if isinstance(value, list):
        return [_reseeded(one) for one in value]
    return value


def answer(pipe: Any, arguments: Arguments) -> list[Tensor]:
    """Run a pipeline and return the tensors and arrays of its answer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = pipe(**again(arguments))
    found = out if isinstance(out, tuple | list | dict) else vars(out)
    return [tensor for _, tensor in leaves(_as_tensors(found))]


def _as_tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_tensors(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_as_tensors(one) for one in value]
    return torch.as_tensor(value) if hasattr(value, "__array__") and not isinstance(value, Tensor) else value


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    """Return True if two answers are the same, bit for bit."""
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference of two answers as a share of the largest value, or of 1 if that is larger."""
    pairs = [(a.double(), b.double()) for a, b in zip(one, other, strict=True)]
    return max(float((a - b).abs().max() / a.abs().max().clamp_min(1)) for a, b in pairs)
