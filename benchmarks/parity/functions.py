"""The formulas of the `vbench` suite on random inputs, compared with the official functions; no networks, no files.

Shape letters: T frames, H rows, W columns, C channels, N positions.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genkit.benchmarks.measures.preprocessing import clip_224, dino_224
from genkit.benchmarks.networks.vit import dino_positions
from genkit.benchmarks.suites.vbench_formulas import dynamic_in, flicker, frames_at_8_fps, pad_to, speed, to_uint8_cut

RATES = (4, 7.99, 8, 12, 12.5, 15, 16, 20, 23.976, 24, 25, 28, 29.97, 30, 36, 44, 50, 60)
SIZES = ((126, 224), (300, 200), (224, 224), (97, 333), (480, 270))
POSITION_SIZES = ((224, 224), (224, 398), (398, 224), (224, 448), (240, 227))
FLOAT = 1e-6
"""Maximum difference of floats, relative to the largest value of a case, at least 1. Everything else must be equal."""

Outputs = dict[str, list[Tensor]]


def draw_inputs(seed: int = 0) -> dict[str, list[Any]]:
    """Draw the cases of every function."""
    random = torch.Generator().manual_seed(seed)
    return {
        "moves": [_scores(pairs, random) for pairs in range(20) for _ in range(20)],
        "every_8th": [{"fps": float(fps), "frames": frames} for fps in RATES for frames in (1, 2, 17, 40)],
        "speed": [4 * torch.randn(2, height, width, generator=random) for height, width in SIZES],
        "dino_224": [_frames(1, *size, random) for size in SIZES],
        "clip_224": [_frames(1, *size, random) for size in SIZES],
        "cut": [0.5 + torch.randn(1, 3, 20, 31, generator=random) for _ in range(4)],
        "padded": [_to_pad(*size, divisor, random) for size in SIZES for divisor in (8, 16)],
        "positions": [_positions(*size, random) for size in POSITION_SIZES],
        "flicker": [_frames(frames, 30, 41, random) for frames in (2, 3, 9)],
    }


def outputs(inputs: dict[str, list[Any]]) -> Outputs:
    """Return genkit's result for every case."""
    return {
        "moves": [_moves(**case) for case in inputs["moves"]],
        "every_8th": [torch.from_numpy(frames_at_8_fps(np.arange(c["frames"]), c["fps"])) for c in inputs["every_8th"]],
        "speed": [torch.tensor(speed(case.numpy(), 256)) for case in inputs["speed"]],
        "dino_224": [dino_224(case.numpy()) for case in inputs["dino_224"]],
        "clip_224": [clip_224(case.numpy()) for case in inputs["clip_224"]],
        "cut": [torch.from_numpy(to_uint8_cut(case)) for case in inputs["cut"]],
        "padded": [pad_to(case["image"], case["divisor"])[0] for case in inputs["padded"]],
        "positions": [dino_positions(c["table"], 16, c["height"], c["width"]) for c in inputs["positions"]],
        "flicker": [torch.tensor(flicker(case.numpy()).value, dtype=torch.float64) for case in inputs["flicker"]],
    }


def worst(official: Outputs, ours: Outputs) -> dict[str, float]:
    """Return the largest difference by function; infinite where shapes, types or the number of cases differ."""
    names = sorted(official.keys() | ours.keys())
    return {name: _worst(official.get(name, []), ours.get(name, [])) for name in names}


def passes(difference: float) -> bool:
    """Return True if a function's largest difference is within :data:`FLOAT`; integers differ by 0 or infinitely."""
    return difference <= FLOAT


def _worst(official: list[Tensor], ours: list[Tensor]) -> float:
    if not official or len(official) != len(ours):
        return float("inf")
    return max(_distance(a, b) for a, b in zip(official, ours, strict=True))


def _distance(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
        return float("inf")
    if not a.is_floating_point():
        return 0.0 if torch.equal(a.long(), b.long()) else float("inf")
    distance = (a.double() - b.double()).abs().max() / a.double().abs().max().clamp_min(1)
    return float(distance) if torch.isfinite(distance) else float("inf")


def _scores(pairs: int, random: torch.Generator) -> dict[str, Any]:
    """Draw speeds around the threshold of a picture."""
    side = int(torch.randint(64, 512, (), generator=random))
    return {"speeds": (6 * side / 256 * 2 * torch.rand(pairs, generator=random)).tolist(), "side": side}


def _to_pad(height: int, width: int, divisor: int, random: torch.Generator) -> dict[str, Any]:
    return {"image": torch.randn(1, 3, height, width, generator=random), "divisor": divisor}


def _moves(speeds: list[float], side: int) -> Tensor:
    return torch.tensor(bool(dynamic_in("vbench-0.1.5", [value * 256 / side for value in speeds]).sum))


def _frames(frames: int, height: int, width: int, random: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (frames, height, width, 3), generator=random).byte()


def _positions(height: int, width: int, random: torch.Generator) -> dict[str, Any]:
    return {"table": torch.randn(1, 197, 6, generator=random), "height": height, "width": width}
