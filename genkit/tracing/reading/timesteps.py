"""Find out which shapes of timesteps a model takes: one for each video, frame or token."""

import torch
from torch import Tensor

from genkit.attention.replays.replay import replay
from genkit.tracing.reading.experiments import Experiments
from genkit.tracing.reading.findings import Found
from genkit.tracing.reading.volumes import Reading

CLOSE = 1e-4
"""Largest difference that counts as none, as a share of the output's largest number."""


def level_of(found: Experiments, reading: Reading) -> Found | None:
    """Return whether each frame may have its own noise level: the same level for each token gives the same output."""
    given = found.forward.arguments.get("timestep")
    if not isinstance(given, Tensor) or given.ndim > 1:
        shape = list(given.shape) if isinstance(given, Tensor) else "no tensor"
        return Found(field="", said=f"timesteps: {shape}")
    batch, (frames, rows, cols) = found.given.shape[0], reading.volume
    shapes = {
        "frame": (batch, frames),
        "token": (batch, frames * rows * cols),
        "frame of 5 axes": (batch, 1, frames, 1, 1),
    }
    taken = [name for name, shape in shapes.items() if _takes(found, given, shape)]
    said = f"timesteps: one for each {', '.join(['video', *taken])}"
    if "token" not in taken:
        return Found(field="", said=said)
    return Found(field="one_level", value=None, said=f"{said}, so each frame may have its own noise level")


def _takes(found: Experiments, given: Tensor, shape: tuple[int, ...]) -> bool:
    each = given.reshape(-1)[:1].expand(shape).clone()
    try:
        plain, other = replay(found.forward).output, replay(found.forward, {"timestep": each}).output
    except Exception:
        return False
    return all(_close(one, two) for one, two in zip(plain, other, strict=True))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not bool(torch.isfinite(other).all()):
        return False
    return float((one - other).abs().max()) <= CLOSE * float(one.abs().max())
