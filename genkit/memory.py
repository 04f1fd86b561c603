"""How much memory is free on this machine, or in the container that this process runs in."""

from pathlib import Path

GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Files of Linux's control groups, version 2 and 1: the limit of a container, and what it uses."""


def free_memory() -> int:
    """Return the bytes that can be taken without swapping, as far as the system tells.

    A container's limit counts too; its cache of files is taken for used, so the number is cautious there.
    """
    from psutil import virtual_memory

    return min([int(virtual_memory().available), *(left for group in GROUPS if (left := _left(*group)) is not None)])


def _left(limit: Path, used: Path) -> int | None:
    """What a control group leaves; None where there is no such group, or no limit."""
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()))
    except (OSError, ValueError):  # "max" is no number
        return None
