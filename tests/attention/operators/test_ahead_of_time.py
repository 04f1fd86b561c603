"""The kernels compiled for GPUs that are not here: no spills, shared memory within the chip's limit, wgmma on sm_90."""

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from tree import HELPERS

SHARED = {80: 166_912, 89: 101_376, 90: 232_448, 100: 232_448}
"""Bytes of shared memory that one block may have. Source: CUDA C++ programming guide, compute capabilities."""
PRODUCTS = ("block_sparse", "threshold", "block_mass", "frame_table")


@cache
def compiled(chip: int) -> list[dict[str, Any]]:
    """What every kernel needs on a chip, from a process of its own: the interpreter cannot compile."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = [sys.executable, str(HELPERS / "aot.py"), str(chip)]
    run = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
@pytest.mark.parametrize("chip", SHARED)
def test_kernels_fit_the_chip(chip: int) -> None:
    found = compiled(chip)
    assert len(found) == 11
    for kernel in found:
        assert kernel["spilled"] == 0, f"{kernel['kernel']} spills {kernel['spilled']} bytes on sm_{chip}"
        assert kernel["shared"] <= SHARED[chip], f"{kernel['kernel']} needs {kernel['shared']} bytes on sm_{chip}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
def test_products_use_warp_groups_on_sm_90() -> None:
    for kernel in compiled(90):
        wide = "mixed" not in kernel["kernel"]  # 32 queries of several frames are too few for a warp group
        assert kernel["wgmma"] == (wide and kernel["kernel"].startswith(PRODUCTS)), kernel["kernel"]
