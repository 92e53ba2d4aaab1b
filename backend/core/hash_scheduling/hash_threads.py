"""The threads that compute password hashes."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_info
from backend.core.hash_scheduling.cpu_count import usable_processors
from backend.core.hash_scheduling.hash_queue import MAX_WAIT, HashQueue, Lane

# Bits of the IPv6 prefix of one site (RFC 6177). With /64 networks, one site could get 65,536
# shares.
SITE_NETWORK = 48
T = TypeVar("T")


def _yield_to_requests() -> None:
    # A hash takes a quarter of a second of processor time; at equal priority it would delay the
    # event loop. Only Linux has priorities per thread.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Relative: an ordinary user may not return to 5 from the 10 of `nice`.
        lower = min(os.getpriority(os.PRIO_PROCESS, thread) + 5, 19)
        os.setpriority(os.PRIO_PROCESS, thread, lower)


class HashingThreads:
    """The threads of an application that compute password hashes, and the queue for them.

    They start with the first hash.
    """

    def __init__(self, threads: int, max_wait: float = MAX_WAIT) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(
            max_workers=threads,
            thread_name_prefix="bcrypt",
            initializer=_yield_to_requests,
        )
        self.queue = HashQueue(self.executor, threads, max_wait)

    async def run(self, work: Callable[[], T], lane: Lane = "sign-in") -> T:
        """Run `work` when a thread is free; raise `ServiceUnavailableError` if too many wait."""
        return await self.queue.run(work, _client(), lane)

    async def compare(self, work: Callable[[], bool]) -> bool:
        """Run a comparison of passwords, and record the result for the priority of its client."""
        verified = await self.run(work)
        self.queue.record_result(_client(), verified=verified)
        return verified


def _client() -> str:
    return address_key(client_info().ip, network=SITE_NETWORK)


def hashing_threads(max_wait: float = MAX_WAIT) -> HashingThreads:
    """Return the threads: one fewer than the processors, but at least one."""
    return HashingThreads(max(1, usable_processors() - 1), max_wait)
