"""The load generator, a process of its own: python -m bench.load [CORE]

Reads one job a line from standard input and writes one result a line to standard output. It ends
at the end of its input, so it cannot outlive the command that started it. Responses are parsed
only to find their end, because the generator has to be several times as fast as the server.
"""

import asyncio
import gc
import json
import os
import sys
import time
from array import array
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle, islice
from typing import cast

import uvloop

# The last responses are awaited for this long after the end of a measurement; otherwise the
# server's work on them would slow the next measurement.
PATIENCE_SECONDS = 30.0
_LENGTH = b"\r\ncontent-length: "
_CHUNKED = b"\r\ntransfer-encoding: chunked"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Job:
    """Requests, given to the connections in turn; each repeats its own after the response."""

    port: int
    requests: list[str]
    connections: int
    seconds: float
    # The expected status, or its first digit.
    expected: str = "2"


@dataclass
class Result:
    """The result of one job; times in milliseconds."""

    responses: int = 0
    per_second: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    errors: int = 0
    first_error: str = ""


@dataclass
class Tally:
    """The counts shared by the connections of a job."""

    until: float
    status: bytes = b"2"
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    errors: int = 0
    first_error: str = ""

    def fail(self, reason: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or reason


class Client(asyncio.Protocol):
    """One keep-alive connection that repeats one request."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request = request
        self.tally = tally
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""
        self.expected = 0
        self.chunked = False
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if not self.expected:
            head_end = self.received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self.received[:head_end].lower() + b"\r\n"
            _, found, rest = head.partition(_LENGTH)
            self.expected = head_end + 4 + int(rest[: rest.index(b"\r")] if found else 0)
            self.chunked = not found and _CHUNKED in head
        if self.chunked and self.received.endswith(_LAST_CHUNK):
            self.expected = len(self.received)
            self.finish()
        elif not self.chunked and len(self.received) >= self.expected:
            self.finish()

    def finish(self) -> None:
        now = time.perf_counter()
        tally = self.tally
        if not self.received.startswith(tally.status, 9) or len(self.received) > self.expected:
            tally.fail(self.received[:400].decode("latin-1"))
        else:
            tally.latencies.append(now - self.sent_at)
        self.received, self.expected = b"", 0
        if now < tally.until:
            self.send()
        else:
            self.done.set_result(None)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.tally.fail(f"connection lost: {exc}")
            self.done.set_result(None)


async def run(job: Job) -> Result:
    """Keep `job.connections` requests in flight until the time is up.

    The responses to the last requests count, and the time until they arrive: otherwise the
    slowest requests would not appear, which are a large part if there are many connections.
    """
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    tally = Tally(started + job.seconds, job.expected.encode())
    requests = islice(cycle([request.encode() for request in job.requests]), job.connections)
    connecting = [
        loop.create_connection(partial(Client, request, tally), "127.0.0.1", job.port)
        for request in requests
    ]
    clients = [client for _, client in await asyncio.gather(*connecting)]
    all_done = asyncio.gather(*(client.done for client in clients))
    try:
        async with asyncio.timeout(job.seconds + PATIENCE_SECONDS):
            await all_done
    except TimeoutError:
        tally.fail("no response in time")
    seconds = time.perf_counter() - started
    ordered = sorted(tally.latencies)
    count = len(ordered)
    result = Result(count, errors=tally.errors, first_error=tally.first_error)
    if ordered:
        result.per_second = count / seconds
        result.p50 = ordered[count // 2] * 1000
        result.p95 = ordered[count * 95 // 100] * 1000
        result.p99 = ordered[count * 99 // 100] * 1000
    return result


def main() -> None:
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    gc.disable()
    for line in sys.stdin:
        result = uvloop.run(run(Job(**json.loads(line))))
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main()
