"""Many concurrent clients of a server, with little overhead."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tests.commands import PATIENCE

T = TypeVar("T")
ATTEMPTS = 20


class RawResponse(NamedTuple):
    status: int
    body: Any

    @property
    def outcome(self) -> tuple[int, str | None]:
        """The status and the error code, if any."""
        return self.status, self.body["error"] if self.status >= 400 else None


class RawClient:
    """A client with one connection, which it opens again after it broke."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(
        self, method: str, path: str, body: Any = None, *, bearer: str | None = None
    ) -> RawResponse:
        """Send and receive JSON; raise OSError or EOFError if the connection breaks."""
        content = b"" if body is None else json.dumps(body).encode()
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._host}",
            f"Content-Length: {len(content)}",
        ]
        head += ["Content-Type: application/json"] * bool(content)
        head += [f"Authorization: Bearer {bearer}"] * bool(bearer)
        try:
            async with asyncio.timeout(PATIENCE):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = self._streams
                writer.write("\r\n".join([*head, "", ""]).encode() + content)
                return await _read_response(reader)
        except BaseException:
            self.close()
            raise

    async def call_with_retries(
        self, method: str, path: str, body: Any = None, *, bearer: str | None = None
    ) -> RawResponse:
        """Repeat the request if the connection breaks."""
        for _ in range(ATTEMPTS):
            try:
                return await self.call(method, path, body, bearer=bearer)
            except (ConnectionError, EOFError):
                continue
        raise AssertionError(f"no response after {ATTEMPTS} attempts")

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def _read_response(reader: asyncio.StreamReader) -> RawResponse:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    return RawResponse(int(first.split()[1]), json.loads(content) if content else None)


async def call_all(
    url: str, work: Iterable[Callable[[RawClient], Awaitable[T]]], *, clients: int = 64
) -> list[T]:
    """Run all of `work` in order, with `clients` of them at a time; return the results."""
    results: dict[int, T] = {}
    waiting = iter(enumerate(work))

    async def run(client: RawClient) -> None:
        try:
            for number, task in waiting:
                results[number] = await task(client)
        finally:
            client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(run(RawClient(url)))
    return [results[number] for number in sorted(results)]
