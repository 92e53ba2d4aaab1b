"""Redis, which counts the requests of all instances, is killed, started empty, and frozen."""

import itertools
import math
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from drills.load import TIMEOUT, Load, LoadReport
from drills.site import (
    Instance,
    Writes,
    compare_writes,
    database,
    instances,
    shipped_nginx,
    sign_in,
)
from tests.commands import eventually, fetch
from tests.redis_servers import RedisServer, redis_server

# Each from an address of its own, because registrations of one address are limited.
CALLERS = 60
# Requests beyond the limit that another caller sends to each instance, and its parallel ones.
EXCESS, PARALLEL = 20, 4
# On a busy machine Redis may take longer than a tenth of a second, which counts as away.
ATTEMPTS = 3


def redis_loss(
    folder: Path, *, rate: float, seconds: float, callers: int = CALLERS
) -> tuple[LoadReport, Writes]:
    """Kill the Redis of two instances, start it empty, freeze it, and continue it.

    Each state lasts for `seconds`. The callers of the load stay below the limit of a minute; in
    each state another one exceeds it on both instances.
    """
    limit = math.ceil(1.5 * 60 * rate / callers)
    settings: dict[str, Any] = {
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_DEFAULT": f"{limit}/minute",
    }
    with (
        database(folder) as url,
        redis_server() as redis,
        instances(folder, url, REDIS_URL=redis.url, **settings) as backends,
        shipped_nginx(folder, backends) as (address, trusted),
    ):
        addresses = map("198.51.100.{}".format, itertools.count())
        first, *others = (
            sign_in(backends[0].url, trusted, address=next(addresses)) for _ in range(callers)
        )
        load = Load(address, first, rate, trusted, more_tokens=tuple(others))
        with load.running() as report:
            passed = 0
            for state, is_up, change in _changes(redis):
                change()
                eventually(partial(_all_report, backends, "ok" if is_up else "degraded"))
                time.sleep(seconds)
                allowed = range(limit, (limit if is_up else limit * len(backends)) + 1)
                for _ in range(ATTEMPTS):
                    token = sign_in(backends[0].url, trusted, address=next(addresses))
                    passed = _passed(backends, token, limit + EXCESS)
                    if passed in allowed:
                        break
                else:
                    report.failures[f"limit not held, Redis {state}"] += 1
                report.notes.append(f"{f'Redis {state}':<20}{passed} passed, the limit is {limit}")
        return report, compare_writes(url, report)


def _changes(redis: RedisServer) -> list[tuple[str, bool, Callable[[], None]]]:
    """Return the states of Redis in order: a name, whether it is up, and how to get there."""
    return [
        ("up", True, lambda: None),
        ("killed", False, redis.kill),
        ("started empty", True, redis.start),
        ("frozen", False, lambda: redis.signal(signal.SIGSTOP)),
        ("continued", True, lambda: redis.signal(signal.SIGCONT)),
    ]


def _all_report(backends: list[Instance], status: str) -> bool:
    """Return whether all instances are ready and report this status of Redis."""
    found = [fetch(instance.url, "/health/ready") for instance in backends]
    return all(code == 200 and body["checks"]["redis"]["status"] == status for code, body in found)


def _passed(backends: list[Instance], token: str, requests: int) -> int:
    """Send requests of one caller to each instance; return how many were not refused."""
    headers = {"Authorization": f"Bearer {token}"}

    def send(instance: Instance) -> int:
        with httpx.Client(base_url=instance.url, headers=headers, timeout=TIMEOUT) as client:
            answers = [client.get("/api/v1/users/me") for _ in range(requests // PARALLEL)]
        return sum(answer.is_success for answer in answers)

    with ThreadPoolExecutor() as threads:
        return sum(threads.map(send, backends * PARALLEL))
