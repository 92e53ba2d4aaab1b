"""The bounds of connections in processes of `backend serve`."""

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from tests.commands import fetch
from tests.processes import Server, served

pytestmark = pytest.mark.slow

HEADERS = b"GET /health HTTP/1.1\r\nHost: a\r\n"
BODY = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)
MIB = 1024 * 1024
LARGE_PAGE = "/api/v1/articles?limit=100"


def connect(server: Server) -> socket.socket:
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), 60)


def end_of(connection: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def resident(server: Server) -> int:
    """Return the memory of all processes together, in MiB."""
    pages = sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.worker_pids()
    )
    return pages * 4096 // MIB


def test_half_requests_are_given_up_by_every_worker(own_database_url: str) -> None:
    with served(own_database_url, workers=4) as server, ThreadPoolExecutor(24) as pool:

        def timed(half: bytes) -> tuple[float, bytes]:
            began = time.monotonic()
            with connect(server) as connection:
                connection.sendall(half)
                answer = end_of(connection)
            return time.monotonic() - began, answer

        heads = [pool.submit(timed, HEADERS + b"x: ") for _ in range(12)]
        bodies = [pool.submit(timed, BODY) for _ in range(12)]
        for seconds, answer in (each.result() for each in heads):
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert 9 < seconds < 20
        for seconds, answer in (each.result() for each in bodies):
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert 29 < seconds < 45


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads memory from /proc")
def test_floods_before_authentication_take_no_memory(own_database_url: str) -> None:
    floods = {
        "lines": (HEADERS, b"x-header: " + b"y" * 1000 + b"\r\n"),
        "one header": (HEADERS + b"x: ", b"y" * 1000),
        "requests": (b"", HEADERS + b"\r\n"),
        "trailers": (BODY.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked")[:-1]
                     + b"2\r\n{}\r\n0\r\n", b"x: " + b"y" * 1000 + b"\r\n"),
    }  # fmt: skip
    with served(own_database_url, workers=1) as server:
        for begins, part in floods.values():
            # The first flood of each kind allocates memory once, which is not measured.
            flood(server, begins, part, MIB)
            before = resident(server)
            flood(server, begins, part, 60 * MIB)
            assert fetch(server.url, "/health")[0] == 200
            assert resident(server) - before < 8


def flood(server: Server, begins: bytes, part: bytes, size: int) -> None:
    block = part * (256 * 1024 // len(part))
    with connect(server) as connection, suppress(ConnectionError):
        connection.sendall(begins)
        for _ in range(size // len(block)):
            connection.sendall(block)


def test_idle_connections_leave_room(own_database_url: str) -> None:
    settings = {"MAX_CONNECTIONS": 50, "KEEP_ALIVE": 3}
    with served(own_database_url, workers=1, **settings) as server:
        crowd = [connect(server) for _ in range(200)]
        time.sleep(1.5)
        for _ in range(5):
            assert fetch(server.url, "/api/v1/articles")[0] == 200
        began = time.monotonic()
        for each in crowd:
            assert end_of(each) == b""
            each.close()
        assert time.monotonic() - began < 20


def publish_much(url: str) -> None:
    """Publish a hundred articles of 490 kB."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO users (id, email, email_key, is_active, is_verified, created_at, "
            "updated_at, sessions_valid_after) SELECT gen_random_uuid(), 'ada@example.com', "
            "'ada@example.com', true, true, now(), now(), now()"
        )
        connection.execute(
            "INSERT INTO articles (id, title, content, status, author_id, created_at, updated_at) "
            "SELECT gen_random_uuid(), 'Tree', repeat('x ', 245000), 'published', users.id, "
            "now(), now() FROM users, generate_series(1, 100)"
        )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads memory from /proc")
def test_answers_that_nobody_reads_take_little_memory_and_end(own_database_url: str) -> None:
    publish_much(own_database_url)
    path = LARGE_PAGE
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with served(own_database_url, workers=1) as server, ExitStack() as stack:
        for _ in range(3):
            assert len(fetch(server.url, path)[1]["data"]) == 4
        before = resident(server)
        crowd = []
        for number in range(100):
            crowd.append(stack.enter_context(connect(server)))
            crowd[-1].sendall(request)
            # One after the other: one caller may have at most 32 large pages in progress.
            assert crowd[-1].recv(12) == b"HTTP/1.1 200"
            if number % 10 == 0:
                assert fetch(server.url, "/health/ready")[0] == 200
        for _ in range(5):
            assert fetch(server.url, path)[0] == 200
        # 64 MiB of responses, and the memory that the allocator keeps of completed ones.
        assert resident(server) - before < 160
        deadline = time.monotonic() + 40
        assert all(server_has_left(each, deadline) for each in crowd)
        assert fetch(server.url, path)[0] == 200


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads memory from /proc")
def test_many_large_pages_at_once_take_little_memory(own_database_url: str) -> None:
    publish_much(own_database_url)
    request = f"GET {LARGE_PAGE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    with served(own_database_url, workers=1) as server, ExitStack() as stack:
        for _ in range(3):
            assert fetch(server.url, LARGE_PAGE)[0] == 200
        before = peak = resident(server)
        crowd = [stack.enter_context(connect(server)) for _ in range(150)]
        for each in crowd:
            each.sendall(request)
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(end_of, each) for each in crowd]
            while not all(answer.done() for answer in answers):
                peak = max(peak, resident(server))
                time.sleep(0.02)
        # A request that waited too long gets 503; a connection not accepted in time is closed.
        assert any(answer.result().startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert peak - before < 160


def server_has_left(connection: socket.socket, deadline: float) -> bool:
    """Return whether the server closes the connection in time although the client reads nothing."""
    poll = select.poll()
    # poll reports errors and hang-ups of both sides even if no event is requested.
    poll.register(connection, 0)
    return bool(poll.poll(max(0, deadline - time.monotonic()) * 1000))


def test_half_bodies_do_not_keep_others_out(own_database_url: str) -> None:
    with served(own_database_url, workers=1, MAX_CONNECTIONS=20) as server:
        crowd = [connect(server) for _ in range(30)]
        for each in crowd:
            each.sendall(BODY)
        time.sleep(2)
        assert fetch(server.url, "/health/ready")[0] == 200
        assert fetch(server.url, "/api/v1/articles")[0] == 200
        for each in crowd:
            each.close()
