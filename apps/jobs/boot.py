"""Reboots of the machine since a worker started: a job interrupted by one did not crash."""

import contextlib
import os
from pathlib import Path

from genkit.apps.jobs.private import private_file

LINUX = Path("/proc/sys/kernel/random/boot_id")
"""ID that the kernel draws at every boot."""
FILE = "boot"


def has_rebooted(state: Path) -> bool:
    """Return True if a different boot is recorded in the folder of a store; False if none is."""
    try:
        return (state / FILE).read_text("utf-8") != _boot_id()
    except (OSError, UnicodeDecodeError):
        return False


def record_boot(state: Path) -> None:
    """Record this boot; if that fails none is recorded, so that crashes count."""
    path = state / FILE
    try:
        with open(private_file(path, os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(_boot_id())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()


def _boot_id() -> str:
    """ID of the current boot."""
    try:
        return LINUX.read_text("ascii").strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"
