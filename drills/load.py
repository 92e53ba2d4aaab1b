"""A steady load of reads and writes, and a report of the outcome of every request."""

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

# Requests alternate: three reads, then one write.
READS_PER_WRITE = 3
TIMEOUT = 40.0


@dataclass
class LoadReport:
    """The outcomes of the requests of one run.

    failures      number of unexpected responses and of errors, by kind
    failed_at     seconds from the start at which each failed request was sent
    acknowledged  titles of the items whose creation returned 201, with their ids
    """

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed_at: list[float] = field(default_factory=list)
    acknowledged: dict[str, UUID] = field(default_factory=dict)
    longest: float = 0

    def failed(self) -> int:
        return sum(self.failures.values())

    def seconds_with_failures(self) -> int:
        """Return the number of distinct seconds in which a request failed."""
        return len({int(moment) for moment in self.failed_at})

    def lines(self) -> list[str]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.failures.most_common())
        return [
            f"requests            {self.requests}",
            f"failed              {self.failed()}{f' ({kinds})' if kinds else ''}",
            f"failing seconds     {self.seconds_with_failures()}",
            f"slowest response    {self.longest:.2f} s",
            f"acknowledged writes {len(self.acknowledged)}",
        ]


class Load:
    """Sends `rate` requests a second to `url`, without waiting for earlier responses."""

    def __init__(self, url: str, token: str, rate: float, verify: ssl.SSLContext | bool) -> None:
        self.report = LoadReport()
        self._client = httpx.AsyncClient(
            base_url=f"{url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            verify=verify,
            limits=httpx.Limits(max_connections=400, max_keepalive_connections=50),
        )
        self._interval = 1 / rate
        self._started = time.monotonic()
        self._stopping = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def running(self) -> Iterator[LoadReport]:
        """Send requests from a thread during the block; then wait for the last outcomes."""
        thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        thread.start()
        try:
            yield self.report
        finally:
            self._stopping.set()
            thread.join()

    async def _send(self) -> None:
        number = 0
        while not self._stopping.is_set():
            due = self._started + number * self._interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            work = self._read if number % (READS_PER_WRITE + 1) else self._write
            task = asyncio.create_task(self._record(work(number)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            number += 1
        await asyncio.gather(*self._tasks)
        await self._client.aclose()

    async def _record(self, work: Coroutine[Any, Any, str]) -> None:
        sent = time.monotonic()
        try:
            failure = await work
        except httpx.HTTPError as error:
            failure = type(error).__name__
        self.report.requests += 1
        self.report.longest = max(self.report.longest, time.monotonic() - sent)
        if failure:
            self.report.failures[failure] += 1
            self.report.failed_at.append(sent - self._started)

    async def _read(self, number: int) -> str:
        path = ("/users/me", "/items?limit=20", "/articles?limit=5")[number % 3]
        return _failure_of(await self._client.get(path), 200, "GET")

    async def _write(self, number: int) -> str:
        title = f"drill {number}"
        response = await self._client.post("/items", json={"title": title})
        if response.status_code == httpx.codes.CREATED:
            self.report.acknowledged[title] = UUID(response.json()["id"])
        return _failure_of(response, 201, "POST")


def _failure_of(response: httpx.Response, expected: int, method: str) -> str:
    return "" if response.status_code == expected else f"{method} {response.status_code}"
