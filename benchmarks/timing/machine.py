"""The machine on which a speed is measured, and how time is taken."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from genkit.errors import UsageError, nearest
from genkit.record.versions import version_of

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SECONDS, MIN_REPEATS = 10.0, 3
"""Slow work is timed no longer than this once it was timed so often."""
PACKAGES = ("genkit-video", "torch", "triton", "diffusers", "xformers", "flash-attn")


def choose_device(name: str | None) -> torch.device:
    """Return the device to measure on; None is the GPU if there is one.

    Raises:
        UsageError: there is no such device, or not on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} cannot be measured; {nearest(name, ('cpu', 'cuda'))}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' is not available on this machine; leave --device out, or use --device cpu")
    return torch.device(name)


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Return the dtype of the inputs; None is bfloat16 on a GPU and float32 on a CPU.

    Raises:
        UsageError: it is not one of ``DTYPES``.
    """
    if name is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} cannot be measured; {nearest(name, DTYPES)}")
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``bfloat16`` for ``torch.bfloat16``."""
    return str(dtype).removeprefix("torch.")


def facts(device: torch.device) -> dict[str, Any]:
    """Return the facts of the machine that every row contains."""
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "chip": chip_of(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {name: found for name in PACKAGES if (found := version_of(name))},
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def chip_of(device: torch.device) -> str | None:
    """Return ``sm_90`` and the like; None for a CPU."""
    if device.type != "cuda":
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def heading(about: dict[str, Any], dtype: torch.dtype, seed: int) -> str:
    """Return the same as one line of text: the first line of every table."""
    chip = f", {about['chip']}" if about["chip"] else f", {about['threads']} threads"
    versions = ", ".join(f"{name} {found}" for name, found in about["versions"].items())
    return f"{about['device_name']} ({about['device']}{chip}), {dtype_name(dtype)}, seed {seed}, {versions}"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Duration of one piece of work."""

    first_ms: float
    """The first call, which may compile."""
    ms: float
    """Median of the calls after it."""
    low_ms: float
    """First quartile."""
    high_ms: float
    """Third quartile."""
    repeats: int
    """Calls behind the median."""
    peak_bytes: int | None
    """Memory that a call needs in addition to what was allocated before; None on a CPU, where it is not measured."""


def measure(work: Callable[[], object], device: torch.device, repeats: int) -> Timing:
    """Time ``work``: once to warm up, then ``repeats`` times, or fewer if it takes seconds."""
    first = elapsed(work, device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times: list[float] = []
    while len(times) < repeats and not (len(times) >= MIN_REPEATS and sum(times) > 1e3 * SECONDS):
        times.append(elapsed(work, device))
    peak = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None
    return timing_of(first, times, peak)


def timing_of(first: float, times: list[float], peak: int | None = None) -> Timing:
    """Return median and quartiles of ``times`` in milliseconds."""
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Timing(first_ms=first, ms=middle, low_ms=low, high_ms=high, repeats=len(times), peak_bytes=peak)


def elapsed(work: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds of one call, until the device is done."""
    laps = Laps(device)
    with laps.lap():
        work()
    return laps.ms()[0]


class Laps:
    """A stopwatch that does not make a GPU wait: marks are read when everything is done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[tuple[Any, Any]] = []

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Time the body of the ``with`` statement."""
        begin = self._mark()
        yield
        self._marks.append((begin, self._mark()))

    def ms(self) -> list[float]:
        """Return the milliseconds of every lap since the last reading."""
        marks, self._marks = self._marks, []
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return [begin.elapsed_time(end) for begin, end in marks]
        return [(end - begin) * 1e3 for begin, end in marks]

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def free_bytes(device: torch.device) -> int:
    """Return the unused memory of the device in bytes."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
