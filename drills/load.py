"""A steady load of reads and writes, and a report of the outcome of every request."""

import asyncio
import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import httpx

# Requests alternate: three reads, then one write.
READS_PER_WRITE = 3
TIMEOUT = 40.0
# With a filter, so that each request has a statement of its own.
ITEMS = "/items?limit=20&created_after=2020-01-01T00:00:00Z"


class Outcome(NamedTuple):
    """A response: seconds from the start at which it arrived, and from its request."""

    at: float
    seconds: float
    status: int
    retry_after: bool


@dataclass
class LoadReport:
    """The outcomes of the requests of one run.

    failures      number of unexpected responses and of errors, by kind
    failed_at     seconds from the start at which each failed request was sent
    acknowledged  titles of the items whose creation returned 201, with their ids
    outcomes      all responses, in the order of arrival
    notes         further lines of the report
    """

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed_at: list[float] = field(default_factory=list)
    acknowledged: dict[str, UUID] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    longest: float = 0
    notes: list[str] = field(default_factory=list)

    def failed(self) -> int:
        return sum(self.failures.values())

    def seconds_with_failures(self) -> int:
        """Return the number of distinct seconds in which a request failed."""
        return len({int(moment) for moment in self.failed_at})

    def lines(self) -> list[str]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in (+self.failures).most_common())
        return [
            f"requests            {self.requests}",
            f"failed              {self.failed()}{f' ({kinds})' if kinds else ''}",
            f"failing seconds     {self.seconds_with_failures()}",
            f"slowest response    {self.longest:.2f} s",
            f"acknowledged writes {len(self.acknowledged)}",
            *self.notes,
        ]


class Load:
    """Sends `rate` requests a second to `url`, without waiting for earlier responses.

    Requests use the tokens in turn, each from a client address of its own if the server trusts
    forwarded headers. With `may_refuse`, a 503 with `Retry-After` is no failure.
    """

    def __init__(
        self,
        url: str,
        token: str,
        rate: float,
        verify: ssl.SSLContext | bool,
        *,
        more_tokens: tuple[str, ...] = (),
        may_refuse: bool = False,
    ) -> None:
        self.report = LoadReport()
        self._may_refuse = may_refuse
        trusted = httpx.create_ssl_context(verify)
        # One for each caller, because a client searches all of its connections for a free one.
        self._clients = [
            httpx.AsyncClient(
                base_url=f"{url}/api/v1",
                headers={
                    "Authorization": f"Bearer {each}",
                    "X-Forwarded-For": f"192.0.2.{index + 1}",
                },
                timeout=TIMEOUT,
                verify=trusted,
                # At its limit of connections the server closes idle ones, perhaps with a request on
                # its way, so all clients together keep fewer.
                limits=httpx.Limits(max_connections=400, max_keepalive_connections=20),
            )
            for index, each in enumerate((token, *more_tokens))
        ]
        # Loads of one drill must not repeat titles.
        self._name = f"drill {os.urandom(4).hex()}"
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
        for client in self._clients:
            await client.aclose()

    async def _record(self, work: Coroutine[Any, Any, httpx.Response]) -> None:
        sent = time.monotonic()
        try:
            failure = self._outcome_of(await work, sent)
        except httpx.HTTPError as error:
            failure = type(error).__name__
        self.report.requests += 1
        self.report.longest = max(self.report.longest, time.monotonic() - sent)
        if failure:
            self.report.failures[failure] += 1
            self.report.failed_at.append(sent - self._started)

    def _outcome_of(self, response: httpx.Response, sent: float) -> str:
        """Record a response; return the kind of its failure, or nothing."""
        now, status = time.monotonic(), response.status_code
        retry_after = "Retry-After" in response.headers
        outcome = Outcome(now - self._started, now - sent, status, retry_after)
        self.report.outcomes.append(outcome)
        method = response.request.method
        refused = self._may_refuse and status == httpx.codes.SERVICE_UNAVAILABLE and retry_after
        return "" if refused or status == _EXPECTED[method] else f"{method} {status}"

    async def _read(self, number: int) -> httpx.Response:
        path = ("/users/me", ITEMS, "/articles?limit=5")[number % 3]
        return await self._client(number).get(path)

    async def _write(self, number: int) -> httpx.Response:
        title = f"{self._name} {number}"
        response = await self._client(number).post("/items", json={"title": title})
        if response.status_code == httpx.codes.CREATED:
            self.report.acknowledged[title] = UUID(response.json()["id"])
        return response

    def _client(self, number: int) -> httpx.AsyncClient:
        # Not in step with the paths and methods, so that each caller sends all of them.
        return self._clients[number // 12 % len(self._clients)]


_EXPECTED = {"GET": httpx.codes.OK, "POST": httpx.codes.CREATED}
