"""Processor cores: one for all servers, another for the load generator."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unpinned() -> Iterator[None]:
    """Let this process and its new children use every core for the length of the block."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def pinned() -> Iterator[tuple[int, int] | None]:
    """Pin this process and its children to one core; yield it and the generator's core.

    A generator that shares a core with the server takes time from it, and more from a fast
    server than from a slow one.
    """
    if sys.platform != "linux":
        yield None
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield cores[0], cores[1]
    finally:
        os.sched_setaffinity(0, cores)
