"""The number of processors available to this process."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the processors allowed by affinity and by the container's quota; at least 1.

    A quota of 1.5 processors counts as 2. `cgroups` is where the control groups are mounted,
    `membership` is the file that lists those of this process.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        count = len(os.sched_getaffinity(0))
    quotas = _quotas(cgroups, membership)
    return max(1, min([count, *(math.ceil(quota) for quota in quotas)]))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """Yield the quotas in processors of this process's group and of all its ancestors."""
    for line in _read(membership).splitlines():
        # number:controllers:group; version 2 has the number 0 and no controllers.
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroups / "cpu" if controllers else cgroups
        inside = PurePosixPath(group.lstrip("/"))
        # In a container, the process's own group may be mounted as the root.
        for folder in {mount / inside, *(mount / above for above in inside.parents), mount}:
            yield from _quota_of(folder)


def _quota_of(folder: Path) -> Iterator[float]:
    values = _read(folder / "cpu.max").split() or [
        *_read(folder / "cpu.cfs_quota_us").split(),
        *_read(folder / "cpu.cfs_period_us").split(),
    ]
    # "max" and -1 mean no quota.
    if len(values) == 2 and values[0].isdecimal() and values[1].isdecimal() and int(values[1]):
        yield int(values[0]) / int(values[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
