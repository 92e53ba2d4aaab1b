"""The number of usable processors respects affinity and container quotas."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.hash_scheduling.cpu_count import usable_processors

HERE = len(os.sched_getaffinity(0))
PRINT = (
    "from backend.core.hash_scheduling.cpu_count import usable_processors; "
    "print(usable_processors())"
)
POOL = (
    "from backend.core.hash_scheduling.hash_threads import hashing_threads; "
    "print(hashing_threads().executor._max_workers)"
)


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def counted(tmp_path: Path, membership: str) -> int:
    (tmp_path / "membership").write_text(membership)
    return usable_processors(tmp_path, tmp_path / "membership")


@pytest.mark.parametrize("program", [PRINT, POOL])
@pytest.mark.slow
def test_of_a_process_that_is_bound_to_one_processor(program: str) -> None:
    bound = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {program}"
    done = subprocess.run(
        [sys.executable, "-c", bound], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000\n", HERE),
        ("100000 100000\n", 1),
        ("20000 100000\n", 1),
        ("150000 100000\n", min(2, HERE)),
        ("6400000 100000\n", HERE),
        ("", HERE),
        ("nonsense\n", HERE),
        ("100000 0\n", HERE),
    ],
)
def test_of_a_group_of_version_two(tmp_path: Path, quota: str, expected: int) -> None:
    group(tmp_path / "app", cpu__max=quota)
    assert counted(tmp_path, "0::/app\n") == expected
    # Inside a container, its group is the root of the mount.
    group(tmp_path, cpu__max=quota)
    assert counted(tmp_path, "0::/docker/1234\n") == expected


def test_the_group_above_binds_as_well(tmp_path: Path) -> None:
    group(tmp_path / "pod", cpu__max="100000 100000\n")
    group(tmp_path / "pod" / "app", cpu__max="max 100000\n")
    assert counted(tmp_path, "0::/pod/app\n") == 1


@pytest.mark.parametrize(("quota", "expected"), [("-1\n", HERE), ("90000\n", 1)])
def test_of_a_group_of_version_one(tmp_path: Path, quota: str, expected: int) -> None:
    group(tmp_path / "cpu/app", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000\n")
    membership = "5:cpuset:/other\n3:cpu,cpuacct:/app\n1:name=systemd:/\n"
    assert counted(tmp_path, membership) == expected


def test_without_control_groups(tmp_path: Path) -> None:
    assert usable_processors(tmp_path, tmp_path / "nothing") == HERE
