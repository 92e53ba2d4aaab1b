"""The load generator, a process of its own: python -m bench.load [CORE]

One job a line on standard input, one result a line on standard output; it ends with its input, so
it cannot outlive the command that started it. Answers are parsed by hand, far enough to know
where they end: the generator has to be several times as fast as what it measures.
"""

import asyncio
import gc
import json
import os
import sys
import time
from array import array
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

# The last answers may take this long after the time is up: they are the server's to finish, or
# its work would spill over into the next measurement.
PATIENCE_SECONDS = 30.0
_LENGTH = b"\r\ncontent-length: "


@dataclass(frozen=True)
class Job:
    """One request, repeated by every connection as soon as its answer is there."""

    port: int
    request: str
    connections: int
    seconds: float
    # The first digit of the status that is expected.
    expected: str = "2"


@dataclass
class Result:
    """What one job found; times in milliseconds."""

    answers: int = 0
    per_second: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    errors: int = 0
    first_error: str = ""


@dataclass
class Tally:
    """What the connections of a job share."""

    until: float
    status: bytes = b"2"
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    errors: int = 0
    first_error: str = ""

    def fail(self, reason: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or reason


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends the same request over and over."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request = request
        self.tally = tally
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""
        self.expected = 0
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no such class.
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
        if len(self.received) >= self.expected:
            self.finish()

    def finish(self) -> None:
        now = time.perf_counter()
        tally = self.tally
        if self.received[9:10] != tally.status or len(self.received) > self.expected:
            tally.fail(self.received[:400].decode("latin-1"))
        elif now <= tally.until:
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
    """Keep `job.connections` requests in flight until the time is up."""
    loop = asyncio.get_running_loop()
    tally = Tally(time.perf_counter() + job.seconds, job.expected.encode())
    request = job.request.encode()
    made = [
        loop.create_connection(lambda: Caller(request, tally), "127.0.0.1", job.port)
        for _ in range(job.connections)
    ]
    callers = [caller for _, caller in await asyncio.gather(*made)]
    waiting = asyncio.gather(*(caller.done for caller in callers))
    try:
        async with asyncio.timeout(job.seconds + PATIENCE_SECONDS):
            await waiting
    except TimeoutError:
        tally.fail("no answer in time")
    found = sorted(tally.latencies)
    result = Result(answers=len(found), errors=tally.errors, first_error=tally.first_error)
    if found:
        result.per_second = len(found) / job.seconds
        result.p50 = found[len(found) // 2] * 1000
        result.p95 = found[len(found) * 95 // 100] * 1000
        result.p99 = found[len(found) * 99 // 100] * 1000
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
