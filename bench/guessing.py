"""Guessing under measurement: many wrong sign-ins of one account, all at the same moment or not.

Several processes answer, on all the cores there are. The plainest answer there is, /health, is
asked for in the same way, so that the machine can be told from the application.
"""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

import psycopg

from bench.endpoints import BURST, P95_LIMIT, Endpoint
from bench.servers import BenchError, Server

PROCESSES = 4
PATIENCE_SECONDS = 60
# Before a burst: whatever the one before has left to do.
PAUSE_SECONDS = 1.0
SETTINGS = {
    "RATE_LIMIT_ENABLED": "true",
    # Out of the way: what is measured are the limits of guessing.
    "RATE_LIMIT_DEFAULT": "1000000/minute",
    "RATE_LIMIT_STORAGE": "postgres",
    "TRUSTED_PROXIES": "127.0.0.1",
}
WRONG = Endpoint(
    "login",
    "POST",
    "/api/v1/auth/login",
    # Nobody's; but that must not show.
    json.dumps({"email": "ada@example.com", "password": "Not the right one"}),
    signed_in=False,
)
HEALTH, ONE, MANY = "/health", "guesses from one address", f"guesses from {BURST} addresses"
IN_TURN = 32
TURNS = f"guesses, {IN_TURN} at a time"


@dataclass
class Burst:
    """What one burst found; times in milliseconds, of the answers with the usual status."""

    statuses: dict[int, int]
    p50: float
    p95: float


@dataclass
class Bursts:
    name: str
    usual: int
    found: list[Burst] = field(default_factory=list)

    def median(self, of: Callable[[Burst], float]) -> float:
        return median(of(each) for each in self.found)

    def failures(self) -> Iterator[str]:
        for each in self.found:
            if not set(each.statuses) <= {self.usual, 401}:
                yield f"guessing, {self.name}: {each.statuses}"


def measure(server: Server, url: str, rounds: int) -> list[Bursts]:
    """Bursts of each kind in turn."""
    health = Endpoint("health", "GET", "/health", signed_in=False)
    kinds = [
        (Bursts(HEALTH, 200), health, 1, BURST),
        (Bursts(ONE, 429), WRONG, 1, BURST),
        (Bursts(MANY, 429), WRONG, BURST, BURST),
        (Bursts(TURNS, 429), WRONG, 1, IN_TURN),
    ]
    # Not counted: the first one opens connections to the database.
    for number in range(rounds + 1):
        for kind, (bursts, endpoint, addresses, at_once) in enumerate(kinds):
            _forget(url)
            time.sleep(PAUSE_SECONDS)
            # What a process remembers of an address must not reach into the next burst.
            network = f"10.{number * len(kinds) + kind}"
            clients = [f"{network}.{each // 250}.{each % 250}" for each in range(addresses)]
            requests = [
                endpoint.request(server.port, "", client=clients[each % addresses]).encode()
                for each in range(BURST)
            ]
            found = _burst(server.port, requests, at_once, bursts.usual)
            if number:
                bursts.found.append(found)
    return [bursts for bursts, *_ in kinds]


def lines(found: list[Bursts]) -> Iterator[str]:
    """The lines for people."""
    if not found:
        return
    yield f"{BURST} requests at the same moment, {PROCESSES} processes:"
    health = found[0].median(lambda each: each.p95)
    for bursts in found:
        p50, p95 = bursts.median(lambda each: each.p50), bursts.median(lambda each: each.p95)
        hashed = bursts.median(lambda each: each.statuses.get(401, 0))
        line = f"  {bursts.name:<28} p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        if bursts.usual == 429:
            verdict = "reached" if p95 < P95_LIMIT else "missed"
            if bursts.name != TURNS:
                line += f" ({p95 / health:.1f} x {HEALTH})"
            line += f", {hashed:.0f} hashed; < {P95_LIMIT:g} ms: {verdict}"
        yield line


def _forget(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM rate_limit_guesses")
        connection.execute("CHECKPOINT")


def _burst(port: int, requests: list[bytes], at_once: int, usual: int) -> Burst:
    """Open a connection for each, send on so many of them, and on the others as answers come."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in requests]
    try:
        return _answers(connections, requests, at_once, usual)
    finally:
        for each in connections:
            each.close()


def _answers(
    connections: list[socket.socket], requests: list[bytes], at_once: int, usual: int
) -> Burst:
    # Until the server has taken them all.
    time.sleep(PAUSE_SECONDS)
    poll = select.poll()
    waiting = {each.fileno(): each for each in connections}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    sent: dict[int, float] = {}
    times: dict[int, list[float]] = {}
    left = iter(zip(connections, requests, strict=True))

    def send(count: int) -> None:
        for connection, request in islice(left, count):
            sent[connection.fileno()] = time.perf_counter()
            connection.send(request)

    send(at_once)
    while waiting:
        ready = poll.poll(PATIENCE_SECONDS * 1000)
        now = time.perf_counter()
        if not ready:
            raise BenchError(f"{len(waiting)} of {BURST} requests were not answered.")
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            head = waiting.pop(descriptor).recv(65536)
            times.setdefault(int(head[9:12] or 0), []).append((now - sent[descriptor]) * 1000)
        send(len(ready))
    ordered = sorted(times.get(usual, [])) or [float("inf")]
    return Burst(
        {status: len(each) for status, each in times.items()},
        ordered[len(ordered) // 2],
        ordered[len(ordered) * 95 // 100],
    )
