"""Devices: which names are valid, and whether this machine has them."""

from typing import Any

import torch

from genkit.checks.values import quote
from genkit.errors import UsageError

NAMES = "'cpu', 'cuda', 'cuda:1' or 'mps'"


def check_device(device: Any) -> str:
    """Return the name of a device of this machine; None is a GPU if there is one.

    Raises:
        UsageError: it is not a device, or this machine does not have it.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = _parse(device)
    if found.type == "cuda":
        _check_cuda(device, found)
    elif found.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device={quote(device)} was asked for, but this machine has no Apple GPU; use 'cpu'")
    elif found.type == "meta":
        raise UsageError(f"device={quote(device)} stores no numbers, so nothing can be made there; use {NAMES}")
    elif found.type != "mps":
        _check_other(device, found)
    return str(found)


def _parse(device: Any) -> torch.device:
    if isinstance(device, torch.device):
        return device
    try:
        if not isinstance(device, str):
            raise RuntimeError
        return torch.device(device.strip())
    except (RuntimeError, ValueError):
        raise UsageError(f"device={quote(device)} is not a device; use {NAMES}") from None


def _check_cuda(device: Any, found: torch.device) -> None:
    if not torch.cuda.is_available():
        raise UsageError(
            f"device={quote(device)} was asked for, but PyTorch finds no CUDA device here; leave it out, or use 'cpu'"
        )
    count = torch.cuda.device_count()
    if found.index is not None and found.index >= count:
        raise UsageError(f"device={quote(device)} was asked for, but the last GPU here is 'cuda:{count - 1}'")


def _check_other(device: Any, found: torch.device) -> None:
    """Refuse other devices, such as back ends of third parties, on which PyTorch cannot create a tensor."""
    try:
        torch.empty(1, device=found).cpu()
        reason = f"there is only {found.type!r}" if found.type == "cpu" and (found.index or 0) > 0 else ""
    except Exception as error:  # a back end that is not installed may raise anything
        reason = f"PyTorch cannot use it here ({type(error).__name__})"
    if reason:
        raise UsageError(f"device={quote(device)} was asked for, but {reason}; use {NAMES}")
