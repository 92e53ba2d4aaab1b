"""The threads of password hashes run below the priority of their process."""

import subprocess
import sys

import pytest

PROGRAM = """
import os
import threading
from backend.core.hash_scheduling.hash_threads import HashingThreads

os.nice({niceness} - os.nice(0))
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
priority = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
print(HashingThreads(1).executor.submit(priority).result())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities per thread")
@pytest.mark.parametrize(("niceness", "expected"), [(12, "17"), (19, "19")])
def test_a_process_of_low_priority_hashes(niceness: int, expected: str) -> None:
    """An ordinary user may lower a priority only, also under `nice` or systemd's `Nice=`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(niceness=niceness)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")
