"""The threads that compute password hashes."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_info
from backend.core.hashing.cpu_count import usable_processors
from backend.core.hashing.hash_queue import HashQueue, Lane

# Bits of the IPv6 prefix of one site (RFC 6177). Counted by /64, one site would get 65,536 times
# the share of another.
SITE_NETWORK = 48
T = TypeVar("T")


def _yield_to_requests() -> None:
    # A hash is a quarter of a second of pure work; at equal priority it would take that
    # time from the event loop. Linux has priorities by thread.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


class HashingThreads:
    """Threads that hash, and the queue for them: one of each in an application.

    Threads start with the first hash.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.executor = ThreadPoolExecutor(
            max_workers=threads,
            thread_name_prefix="bcrypt",
            initializer=_yield_to_requests,
        )
        self.queue = HashQueue(self.executor, threads)

    async def run(self, work: Callable[[], T], lane: Lane = "sign-in") -> T:
        """Do the work of a hash in its turn; `ServiceUnavailableError` if too many wait."""
        return await self.queue.run(work, _client(), lane)

    async def compare(self, work: Callable[[], bool]) -> bool:
        """Compare a password in its turn, and record the result for the turns of its client."""
        verified = await self.run(work)
        self.queue.remember(_client(), verified=verified)
        return verified


def _client() -> str:
    return address_key(client_info().ip, network=SITE_NETWORK)


def hashing_threads() -> HashingThreads:
    """As many threads as leave a processor to the event loop."""
    return HashingThreads(max(1, usable_processors() - 1))
