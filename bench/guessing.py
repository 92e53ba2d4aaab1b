"""Bursts of sign-ins with a wrong password against one account.

Several worker processes on all cores serve them. Bursts of the cheapest request, /health, show
how much of the time is due to the machine.
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
# Before each burst, so that work of the previous one is finished.
PAUSE_SECONDS = 1.0
SETTINGS = {
    "RATE_LIMIT_ENABLED": "true",
    # High enough never to be reached: only the limits on password guessing are measured.
    "RATE_LIMIT_DEFAULT": "1000000/minute",
    "RATE_LIMIT_STORAGE": "postgres",
    "TRUSTED_PROXIES": "127.0.0.1",
}
WRONG = Endpoint(
    "login",
    "POST",
    "/api/v1/auth/login",
    # No account has this address; the response is the same as for an existing account.
    json.dumps({"email": "ada@example.com", "password": "Not the right one"}),
    signed_in=False,
)
HEALTH, ONE, MANY = "/health", "guesses from one address", f"guesses from {BURST} addresses"
IN_TURN = 32
TURNS = f"guesses, {IN_TURN} at a time"


@dataclass
class Burst:
    """The result of one burst; times in milliseconds, of the responses with the usual status."""

    statuses: dict[int, int]
    p50: float
    p95: float


@dataclass
class Bursts:
    """The bursts of one kind; `usual` is the status that most of their responses have."""

    name: str
    usual: int
    results: list[Burst] = field(default_factory=list)

    def median(self, of: Callable[[Burst], float]) -> float:
        return median(of(burst) for burst in self.results)

    def failures(self) -> Iterator[str]:
        for burst in self.results:
            if not set(burst.statuses) <= {self.usual, 401}:
                yield f"guessing, {self.name}: {burst.statuses}"


def measure(server: Server, url: str, rounds: int) -> list[Bursts]:
    """Send `rounds` bursts of each kind in turn."""
    health = Endpoint("health", "GET", "/health", signed_in=False)
    kinds = [
        (Bursts(HEALTH, 200), health, 1, BURST),
        (Bursts(ONE, 429), WRONG, 1, BURST),
        (Bursts(MANY, 429), WRONG, BURST, BURST),
        (Bursts(TURNS, 429), WRONG, 1, IN_TURN),
    ]
    # The first round is not counted: it opens the connections to the database.
    for number in range(rounds + 1):
        for kind, (bursts, endpoint, addresses, at_once) in enumerate(kinds):
            _clear_hits(url)
            time.sleep(PAUSE_SECONDS)
            # A new network for each burst: the processes cache exhausted limits of addresses.
            network = f"10.{number * len(kinds) + kind}"
            clients = [f"{network}.{host // 250}.{host % 250}" for host in range(addresses)]
            requests = [
                endpoint.request(server.port, "", client=clients[index % addresses]).encode()
                for index in range(BURST)
            ]
            result = _burst(server.port, requests, at_once, bursts.usual)
            if number:
                bursts.results.append(result)
    return [bursts for bursts, *_ in kinds]


def lines(kinds: list[Bursts]) -> Iterator[str]:
    """Yield the lines of the printed report."""
    if not kinds:
        return
    yield f"{BURST} simultaneous requests, {PROCESSES} processes:"
    health = kinds[0].median(lambda burst: burst.p95)
    for bursts in kinds:
        p50, p95 = bursts.median(lambda burst: burst.p50), bursts.median(lambda burst: burst.p95)
        hashed = bursts.median(lambda burst: burst.statuses.get(401, 0))
        line = f"  {bursts.name:<28} p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        if bursts.usual == 429:
            verdict = "reached" if p95 < P95_LIMIT else "missed"
            if bursts.name != TURNS:
                line += f" ({p95 / health:.1f} x {HEALTH})"
            line += f", {hashed:.0f} hashed; < {P95_LIMIT:g} ms: {verdict}"
        yield line


def _clear_hits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM rate_limit_guesses")
        connection.execute("CHECKPOINT")


def _burst(port: int, requests: list[bytes], at_once: int, usual: int) -> Burst:
    """Send each request on a connection of its own, at most `at_once` of them at a time."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in requests]
    try:
        return _exchange(connections, requests, at_once, usual)
    finally:
        for connection in connections:
            connection.close()


def _exchange(
    connections: list[socket.socket], requests: list[bytes], at_once: int, usual: int
) -> Burst:
    # The server accepts all connections meanwhile.
    time.sleep(PAUSE_SECONDS)
    poll = select.poll()
    waiting = {connection.fileno(): connection for connection in connections}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    sent: dict[int, float] = {}
    times: dict[int, list[float]] = {}
    unsent = iter(zip(connections, requests, strict=True))

    def send(count: int) -> None:
        for connection, request in islice(unsent, count):
            sent[connection.fileno()] = time.perf_counter()
            connection.send(request)

    send(at_once)
    while waiting:
        ready = poll.poll(PATIENCE_SECONDS * 1000)
        now = time.perf_counter()
        if not ready:
            raise BenchError(f"{len(waiting)} of {BURST} requests got no response.")
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            head = waiting.pop(descriptor).recv(65536)
            times.setdefault(int(head[9:12] or 0), []).append((now - sent[descriptor]) * 1000)
        send(len(ready))
    ordered = sorted(times.get(usual, [])) or [float("inf")]
    return Burst(
        {status: len(durations) for status, durations in times.items()},
        ordered[len(ordered) // 2],
        ordered[len(ordered) * 95 // 100],
    )
