"""Free memory of this machine, or of the container of this process."""

from pathlib import Path

GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""Files of Linux's control groups, version 2 and 1: the limit of a container, and its usage."""


def free_memory() -> int:
    """Return the bytes that can be allocated without swapping, as reported by the system.

    The limits of a container and of ``ulimit -v`` count too.
    """
    from psutil import virtual_memory

    limits = [_left_to_process(), *(_left(*group) for group in GROUPS)]
    return min([int(virtual_memory().available), *(left for left in limits if left is not None)])


def _left(limit: Path, used: Path) -> int | None:
    """Return what a control group leaves; None if there is no such group, or no limit."""
    try:
        return max(0, int(limit.read_text()) - int(used.read_text()) + _cache_size(limit.with_name("memory.stat")))
    except (OSError, ValueError):  # "max" is not a number
        return None


def _cache_size(path: Path) -> int:
    """Return the file cache of a control group in bytes, which the system frees on demand."""
    try:
        found = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(found.get("inactive_file", 0)) + int(found.get("active_file", 0))


def _left_to_process() -> int | None:
    """Return what ``ulimit -v`` leaves; None if there is no such limit."""
    try:
        import resource

        limit, pages = resource.getrlimit(resource.RLIMIT_AS)[0], Path("/proc/self/statm").read_text().split()[0]
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - int(pages) * resource.getpagesize())
