"""Whether the machine was restarted since a worker began: its switch is nothing that a job can help."""

import contextlib
import os
from pathlib import Path

from genkit.apps.jobs.private import private_file

LINUX = Path("/proc/sys/kernel/random/boot_id")
"""Drawn by the kernel each time that it starts."""
NOTED = "boot"


def restarted(state: Path) -> bool:
    """Whether another start of the machine is noted in the folder of a store; False where none is."""
    try:
        return (state / NOTED).read_text("utf-8") != _start()
    except (OSError, UnicodeDecodeError):
        return False


def note_start(state: Path) -> None:
    """Note this start of the machine; where that is not possible none is noted, so that crashes count."""
    path = state / NOTED
    try:
        with open(private_file(path, os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(_start())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()


def _start() -> str:
    """What tells this start of the machine from every other."""
    try:
        return LINUX.read_text("ascii").strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"
