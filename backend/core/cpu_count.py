"""How many processors this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Processors by the affinity of this process and the quota of its container; at least 1.

    A quota of 1.5 processors counts as 2. `cgroups` is where the control groups are mounted,
    `membership` the file that names those of this process.
    """
    counted = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        counted = len(os.sched_getaffinity(0))
    quotas = _quotas(cgroups, membership)
    return max(1, min([counted, *(math.ceil(quota) for quota in quotas)]))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """The quotas that bind this process, in processors: of its group and of all groups above."""
    for line in _read(membership).splitlines():
        # number:controllers:group; version 2 has the number 0 and no controllers.
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroups / "cpu" if controllers else cgroups
        inside = PurePosixPath(group.lstrip("/"))
        # Inside a container its own group may be mounted as the root.
        for folder in {mount / inside, *(mount / above for above in inside.parents), mount}:
            yield from _quota_of(folder)


def _quota_of(folder: Path) -> Iterator[float]:
    found = _read(folder / "cpu.max").split() or [
        *_read(folder / "cpu.cfs_quota_us").split(),
        *_read(folder / "cpu.cfs_period_us").split(),
    ]
    # "max" and -1 mean none.
    if len(found) == 2 and found[0].isdecimal() and found[1].isdecimal() and int(found[1]):
        yield int(found[0]) / int(found[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
