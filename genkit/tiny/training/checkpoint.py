"""A run's folder: a checkpoint that is written whole or not at all, and its log of JSON lines."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def save(out: Path, trainer: nn.Module, average: nn.Module, solvers: list[torch.optim.Optimizer], step: int) -> None:
    """Write the checkpoint, whole or not at all, even if the machine stops."""
    state = {
        "step": step,
        "trainer": trainer.state_dict(),
        "average": average.state_dict(),
        "solvers": [solver.state_dict() for solver in solvers],
    }
    with (out / "checkpoint.tmp").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    (out / "checkpoint.tmp").replace(out / "checkpoint.pt")


def restore(
    out: Path, trainer: nn.Module, average: nn.Module, solvers: list[torch.optim.Optimizer], first: int = 0
) -> int:
    """Read the checkpoint and return the step to continue from; ``first`` if there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return first
    state = torch.load(path, map_location="cpu", weights_only=True)
    trainer.load_state_dict(state["trainer"])
    average.load_state_dict(state["average"])
    for solver, saved in zip(solvers, state["solvers"], strict=True):
        solver.load_state_dict(saved)
    return int(state["step"])


def write_row(out: Path, name: str, row: dict[str, Any]) -> None:
    """Add one JSON line to a log of the run."""
    with (out / name).open("a") as log:
        log.write(json.dumps(row) + "\n")
