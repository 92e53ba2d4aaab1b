"""Sizes, times and numbers of connections are bounded before authentication."""

import asyncio
import http.client
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from backend.server.bounds import Bounds
from backend.server.protocol import Protocol
from tests.servers import serving

LIMIT = 64 * 1024
HEALTH = b"GET /health HTTP/1.1\r\nHost: testserver\r\n"
LOGIN = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
)
CHUNKED = LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"
CODE_431 = "REQUEST_HEADER_FIELDS_TOO_LARGE"
# Seconds: a busy machine still meets this deadline, and a test can wait for it.
SHORT = 0.3
PATIENCE = 20


class _Bytes:
    """A replacement for the socket that `http.client` reads from."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def makefile(self, *_: Any) -> io.BytesIO:
        return self.file


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """Return the error code of the problem document, after checking its other parts."""
        problem = json.loads(self.body)
        assert self.headers["content-type"] == "application/problem+json"
        assert self.headers["x-request-id"] == problem["request_id"]
        assert self.headers["cache-control"] == "no-store"
        assert self.headers["x-content-type-options"] == "nosniff"
        assert problem["status"] == self.status
        code: str = problem["error"]
        return code


def answers_in(data: bytes) -> list[Answer]:
    """Return all responses that a connection has received, in order."""
    source, found = _Bytes(data), []
    while source.file.tell() < len(data):
        start = source.file.tell()
        answer = http.client.HTTPResponse(source)  # type: ignore[arg-type]  # it only calls makefile
        # The response would otherwise close the file at its end.
        source.file.close = lambda: None  # type: ignore[method-assign]
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        found.append(Answer(answer.status, headers, answer.read()))
        assert source.file.tell() > start
    return found


class Connection:
    """A client connection that sends raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        """Return the next response, on a connection that stays open."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        (found,) = answers_in(head + await self.reader.readexactly(length))
        return found

    async def answers(self) -> list[Answer]:
        """Return all responses until the server closes the connection, as it must."""
        return answers_in(await asyncio.wait_for(self.reader.read(), PATIENCE))

    @property
    def is_closed(self) -> bool:
        return self.reader._eof  # type: ignore[attr-defined,no-any-return]  # also with bytes unread


class Door:
    """A server, and the connections of a test."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self.opened: list[Connection] = []

    async def connect(self, data: bytes = b"") -> Connection:
        made = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        self.opened.append(made)
        made.send(data)
        return made

    async def exchange(self, data: bytes) -> list[Answer]:
        return await (await self.connect(data)).answers()


@asynccontextmanager
async def door(app: Any, keep_alive: int = 5, **bounds: Any) -> AsyncIterator[Door]:
    protocol = partial(Protocol, bounds=Bounds(**bounds))
    options = {"http": protocol, "timeout_keep_alive": keep_alive, "proxy_headers": False}
    async with serving(app, **options) as url:
        made = Door(url)
        try:
            yield made
        finally:
            for each in made.opened:
                each.writer.transport.abort()


def head_of(size: int, line: bytes = b"x: ") -> bytes:
    """Return a request whose head has this size in bytes."""
    return HEALTH + line.ljust(size - len(HEALTH) - 4, b"y") + b"\r\n\r\n"


# --- sizes


async def test_a_head_of_exactly_the_limit_is_read(app: FastAPI) -> None:
    async with door(app) as server:
        connection = await server.connect(head_of(LIMIT))
        assert (await connection.answer()).status == 200
        # In two parts, and on a connection that was used before.
        connection.send(head_of(LIMIT)[:100])
        await asyncio.sleep(0.01)
        connection.send(head_of(LIMIT)[100:])
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        head_of(LIMIT + 1),
        HEALTH + b"x: " + b"y" * 3_000_000,
        HEALTH + b"x: y\r\n" * 500_000,
        b"GET /" + b"y" * 3_000_000,
        b"y" * 3_000_000,
        HEALTH + b"x" * 3_000_000,
        HEALTH + b"x: y\r\n" * 1500 + b"\r\n",
    ],
    ids=["one more", "header", "lines", "target", "method", "name", "many lines"],
)
async def test_a_head_beyond_the_limit_is_refused(app: FastAPI, sent: bytes) -> None:
    async with door(app) as server:
        (answer,) = await server.exchange(sent)
    # An invalid method gets 400, whatever its length.
    expected = (400, "BAD_REQUEST") if sent.startswith(b"y") else (431, CODE_431)
    assert (answer.status, answer.error) == expected
    assert answer.headers["connection"] == "close"


async def test_a_later_head_is_bounded_like_the_first(app: FastAPI) -> None:
    async with door(app) as server:
        connection = await server.connect(HEALTH + b"\r\n")
        assert (await connection.answer()).status == 200
        connection.send(head_of(LIMIT + 1))
        (answer,) = await connection.answers()
    assert (answer.status, answer.error) == (431, CODE_431)


@pytest.mark.parametrize(
    "sent",
    [
        b"2;x=" + b"y" * 1_000_000,
        b"2\r\n{}\r\n0\r\nx: " + b"y" * 1_000_000,
        b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 200_000,
    ],
    ids=["extension", "trailer", "trailers"],
)
async def test_what_surrounds_a_body_is_bounded_as_well(app: FastAPI, sent: bytes) -> None:
    async with door(app) as server:
        (answer,) = await server.exchange(CHUNKED + sent)
    assert (answer.status, answer.error) == (431, CODE_431)


async def test_trailers_are_no_headers() -> None:
    seen: list[Scope] = []

    async def remember(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with door(remember) as server:
        connection = await server.connect(CHUNKED + b"2\r\n{}\r\n0\r\n")
        await asyncio.sleep(0.05)
        connection.send(b"Authorization: Bearer x\r\n\r\n")
        await connection.reader.readuntil(b"\r\n\r\n")
    assert [name for name, _ in seen[0]["headers"]] == [
        *(b"host", b"content-type", b"transfer-encoding"),
    ]


async def test_a_body_of_small_chunks_is_read(app: FastAPI) -> None:
    body = json.dumps({"email": "x", "password": "y" * 30_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    async with door(app) as server:
        connection = await server.connect(CHUNKED + chunks + b"0\r\n\r\n")
        assert (await connection.answer()).status == 422


# --- times


@pytest.mark.parametrize(
    "sent",
    [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nx: ", b"\r\n"],
    ids=["first", "line", "value", "nothing"],
)
async def test_a_head_that_does_not_end_is_given_up(app: FastAPI, sent: bytes) -> None:
    async with door(app, head_seconds=SHORT) as server:
        (answer,) = await server.exchange(sent)
    assert (answer.status, answer.error) == (408, "REQUEST_TIMEOUT")


async def test_a_head_does_not_gain_time_by_going_on(app: FastAPI) -> None:
    async with door(app, head_seconds=SHORT) as server:
        connection = await server.connect(HEALTH)
        for _ in range(50):
            await asyncio.sleep(SHORT / 10)
            if connection.is_closed:
                break
            connection.send(b"x: y\r\n")
        (answer,) = await connection.answers()
        assert answer.status == 408


async def test_a_body_that_does_not_go_on_is_given_up(
    app: FastAPI, log: list[structlog.typing.EventDict]
) -> None:
    for sent in (LOGIN + b"Content-Length: 100\r\n\r\n{", CHUNKED, CHUNKED + b"5\r\n{"):
        async with door(app, body_seconds=SHORT) as server:
            (answer,) = await server.exchange(sent)
        assert (answer.status, answer.error) == (408, "REQUEST_TIMEOUT")
        problem = json.loads(answer.body)
        assert problem["path"] == "/api/v1/auth/login"
        assert [event["request_id"] for event in log if event.get("status") == 408] == [
            problem["request_id"]
        ]
        assert "unhandled_error" not in [event["event"] for event in log]
        log.clear()


async def test_a_body_that_goes_on_is_waited_for(app: FastAPI) -> None:
    body = b'{"email": "x"}'
    async with door(app, body_seconds=SHORT) as server:
        connection = await server.connect(LOGIN + b"Content-Length: %d\r\n\r\n" % len(body))
        for index in range(len(body)):
            await asyncio.sleep(SHORT / 6)
            connection.send(body[index : index + 1])
        assert (await connection.answer()).status == 422


async def test_chunks_without_content_are_no_progress(app: FastAPI) -> None:
    async with door(app, body_seconds=SHORT) as server:
        connection = await server.connect(CHUNKED + b"9;")
        for _ in range(50):
            await asyncio.sleep(SHORT / 10)
            if connection.is_closed:
                break
            connection.send(b"x")
        (answer,) = await connection.answers()
        assert answer.status == 408


async def test_a_body_that_drips_for_ever_is_given_up(app: FastAPI) -> None:
    async with door(app, body_seconds=SHORT, slow_seconds=SHORT, slow_rate=1e6) as server:
        connection = await server.connect(LOGIN + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(100):
            await asyncio.sleep(SHORT / 6)
            if connection.is_closed:
                break
            connection.send(b" ")
        (answer,) = await connection.answers()
        assert answer.status == 408


async def test_the_rest_of_a_refused_body_is_not_waited_for(app: FastAPI) -> None:
    head = b"POST /api/v1/items HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    async with door(app, body_seconds=SHORT) as server:
        connection = await server.connect(head)
        for _ in range(100):
            if connection.is_closed:
                break
            connection.send(b"x")
            await asyncio.sleep(SHORT / 6)
        answers = await connection.answers()
    assert [each.status for each in answers] == [401]


@pytest.mark.slow
async def test_time_that_the_application_takes_is_not_the_clients() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4 * SHORT)
        received = b""
        more = True
        while more:
            message = await receive()
            received += message["body"]
            more = message["more_body"]
        length = (b"content-length", b"%d" % len(received))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": received})

    size = 3_000_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % size
    async with door(slow, head_seconds=SHORT, body_seconds=SHORT) as server:
        connection = await server.connect(head + b"\r\n" + b"x" * size)
        assert (await connection.answer()).body == b"x" * size
        # The deadline of a pipelined head starts only after the response before it.
        connection = await server.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        assert (await connection.answer()).status == 200
        connection.send(b"TP/1.1\r\nHost: a\r\n\r\n")
        assert (await connection.answer()).status == 200
        # A client that expects 100 Continue is not late before the server has sent it.
        connection = await server.connect(head + b"Expect: 100-continue\r\n\r\n")
        assert b" 100 " in await asyncio.wait_for(connection.reader.readline(), PATIENCE)


@pytest.mark.parametrize("sent", [b"", HEALTH + b"\r\n"], ids=["never used", "used"])
@pytest.mark.slow
async def test_an_idle_connection_is_kept_so_long_and_no_longer(app: FastAPI, sent: bytes) -> None:
    async with door(app, keep_alive=1, head_seconds=SHORT) as server:
        connection = await server.connect(sent)
        if sent:
            assert (await connection.answer()).status == 200
        # Longer than the deadline of a head.
        await asyncio.sleep(2 * SHORT)
        connection.send(HEALTH + b"\r\n")
        assert (await connection.answer()).status == 200
        began = asyncio.get_running_loop().time()
        assert await connection.answers() == []
        assert asyncio.get_running_loop().time() - began > 0.9


# --- numbers


async def test_the_longest_idle_connections_make_room(app: FastAPI) -> None:
    bounds = {"connections": 4, "spare": 1, "closed_at_once": 2, "fresh_seconds": 0}
    async with door(app, **bounds) as server:
        idle = [await server.connect(HEALTH + b"\r\n") for _ in range(4)]
        for each in idle:
            assert (await each.answer()).status == 200
        newest = await server.connect(HEALTH + b"\r\n")
        assert (await newest.answer()).status == 200
        for each in idle[:2]:
            assert await each.answers() == []
        idle[3].send(HEALTH + b"\r\n")
        assert (await idle[3].answer()).status == 200


async def test_without_idle_ones_only_health_is_answered(app: FastAPI) -> None:
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/busy":
            entered.set()
            await leave.wait()
        await app(scope, receive, send)

    busy.state = app.state  # type: ignore[attr-defined]
    async with door(busy, connections=1, spare=2, fresh_seconds=0) as server:
        running = await server.connect(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
        await entered.wait()
        (refused,) = await server.exchange(b"GET /api/v1/articles HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (refused.status, refused.error) == (503, "SERVICE_UNAVAILABLE")
        assert refused.headers["retry-after"] == "1"
        (alive,) = await server.exchange(HEALTH.replace(b"/health", b"/health/live") + b"\r\n")
        assert (alive.status, alive.headers["connection"]) == (200, "close")
        leave.set()
        assert (await running.answer()).status == 404
        assert (await (await server.connect(HEALTH + b"\r\n")).answer()).status == 200


@pytest.mark.slow
async def test_connections_that_wait_for_their_client_give_way(app: FastAPI) -> None:
    """If connections are needed, an incomplete head or body is closed before its deadline."""
    for half in (b"GET / HT", CHUNKED):
        async with door(app, connections=3, spare=0, fresh_seconds=SHORT) as server:
            halves = [await server.connect(half) for _ in range(3)]
            await asyncio.sleep(2 * SHORT)
            assert (await (await server.connect(HEALTH + b"\r\n")).answer()).status == 200
            for each in halves:
                assert await each.answers() == []


async def test_too_many_requests_in_advance_end_the_connection(app: FastAPI) -> None:
    async with door(app) as server:
        answers = await server.exchange((HEALTH + b"\r\n") * 5000)
    assert {each.status for each in answers} == {200}
    assert 1 <= len(answers) <= 66
    async with door(app) as server:
        answers = await server.exchange((HEALTH + b"\r\n") * 60 + b"GET / HTTP/1.0\r\n\r\n")
    assert [each.status for each in answers[:60]] == [200] * 60


# --- syntax


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        HEALTH + b"A B: 1\r\n\r\n",
        HEALTH + b" folded\r\n\r\n",
        HEALTH + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEALTH + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        HEALTH + b"Host: testserver\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: ada@testserver\r\n\r\n",
        b"GET http://ada@testserver/health HTTP/1.1\r\nHost: testserver\r\n\r\n",
        b"GET http:///health HTTP/1.1\r\nHost: testserver\r\n\r\n",
        b"GET ftp://testserver/health HTTP/1.1\r\nHost: testserver\r\n\r\n",
        b"GET http://testserver/health HTTP/1.1\r\n\r\n",
        b"GET http://testserver/health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"CONNECT testserver:80 HTTP/1.1\r\nHost: testserver\r\n\r\n",
        CHUNKED + b"nonsense\r\n",
    ],
)
async def test_what_is_no_request_is_a_problem(app: FastAPI, sent: bytes) -> None:
    async with door(app) as server:
        connection = await server.connect(sent)
        answer = await connection.answer()
        assert (answer.status, answer.error) == (400, "BAD_REQUEST")


async def test_an_error_does_not_spoil_the_answer_before_it(app: FastAPI) -> None:
    async with door(app) as server:
        answers = await server.exchange(HEALTH + b"\r\nNONSENSE\r\n\r\n")
    assert [each.status for each in answers] == [200]


@pytest.mark.parametrize("path", [b"", b"/", b"/health", b"?x=1", b"/health?x=1"])
async def test_a_target_in_absolute_form_names_the_host(path: bytes) -> None:
    seen: list[Scope] = []

    async def remember(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        length = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b""})

    async with door(remember) as server:
        connection = await server.connect(
            b"GET http://api.example.com:81%s HTTP/1.1\r\nHost: other\r\n\r\n" % path
        )
        assert (await connection.answer()).status == 200
        connection.send(b"GET HTTPS://api.example.com:81%s HTTP/1.0\r\n\r\n" % path)
        assert len(await connection.answers()) == 1
    for scope in seen:
        assert dict(scope["headers"])[b"host"] == b"api.example.com:81"
        assert scope["path"] == (path.partition(b"?")[0].decode() or "/")
        assert scope["query_string"] == path.partition(b"?")[2]


@pytest.mark.parametrize(
    "coding", [b"Content-Length: 12\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nc\r\n"]
)
async def test_an_offered_protocol_does_not_cost_the_body(app: FastAPI, coding: bytes) -> None:
    """Java's client and `curl --http2` send such requests."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    body = b'{"email": 1}' + (b"\r\n0\r\n\r\n" if b"chunked" in coding else b"")
    async with door(app) as server:
        connection = await server.connect(LOGIN + offer + coding + body)
        answer = await connection.answer()
        fields = {each["field"]: each["code"] for each in json.loads(answer.body)["errors"]}
        assert fields["body.email"] == "string_type"
        # The body may come later, and requests without one may follow.
        connection.send(LOGIN + offer + coding)
        await asyncio.sleep(0.01)
        connection.send(body + (HEALTH + offer + b"\r\n") * 2)
        statuses = [(await connection.answer()).status for _ in range(3)]
        assert statuses == [422, 200, 200]
