"""Reading weight files without executing any code they contain."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genkit.benchmarks.networks.torchscript import is_torchscript, read_torchscript
from genkit.errors import GenkitError

NESTED = ("state_dict", "model", "params")
"""Keys under which trainers store the weights beside other objects."""
WRAPPED = "module."
"""Prefix that data-parallel training adds to every key."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by key, in float32: pickles of torch, TorchScript archives, safetensors.

    Trainers' wrappers are removed: ``{"state_dict": ...}`` around the weights, ``module.`` before every key.

    Raises:
        GenkitError: it is none of these, is damaged, or would run code.
    """
    try:
        state = _load(path)
    except Exception as error:  # a damaged file raises almost anything
        reason = str(error).strip().partition("\n")[0]
        raise GenkitError(f"{str(path)!r} cannot be read as a checkpoint: {reason or type(error).__name__}") from error
    for name in NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    tensors = {key: value for key, value in state.items() if torch.is_tensor(value)} if _is_dict(state) else {}
    if not tensors:
        raise GenkitError(f"{str(path)!r} contains no weights: they must be a mapping from names to tensors")
    for key, value in tensors.items():
        _check_real(path, key, value)
    wrapped = all(key.startswith(WRAPPED) for key in tensors)
    return {key.removeprefix(WRAPPED) if wrapped else key: _float(value) for key, value in tensors.items()}


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    with torch.serialization.safe_globals(_numbers()):
        return torch.load(path, map_location="cpu", weights_only=True)


def _numbers() -> list[Any]:
    """Return NumPy's number types, which trainers leave in the state of optimizers; old files use the old name."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]


def _is_dict(state: Any) -> bool:
    return isinstance(state, Mapping) and all(isinstance(key, str) for key in state)


def _check_real(path: Path, key: str, value: Tensor) -> None:
    """Refuse a tensor larger than its stored numbers: in float32 it would fill the memory."""
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise GenkitError(f"{key!r} in {str(path)!r} is not an ordinary tensor; store it densely")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise GenkitError(f"{key!r} in {str(path)!r} has shape {tuple(value.shape)} but fewer numbers than that")


def _float(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
