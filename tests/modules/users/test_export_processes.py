"""Exports of many rows by `backend serve`: memory, first byte, and clients that hang up."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.actors import PASSWORD
from tests.modules.users.test_reports import insert_accounts
from tests.processes import Server, served

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
EXPORT = "/api/v1/users/export"


@pytest.fixture(params=[20_000])
def server(request: pytest.FixtureRequest, own_database_url: str) -> Iterator[Server]:
    insert_accounts(own_database_url, request.param)
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE users")
    admin = {"FIRST_ADMIN_EMAIL": "root@example.com", "FIRST_ADMIN_PASSWORD": PASSWORD}
    with served(own_database_url, workers=1, **admin) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    credentials = {"email": "root@example.com", "password": PASSWORD}
    with httpx.Client(base_url=server.url, timeout=60) as made:
        signed_in = made.post("/api/v1/auth/login", json=credentials)
        made.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        yield made


def resident_bytes(pid: int) -> int:
    (found,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) * 1024


@pytest.mark.parametrize("server", [100_000], indirect=True)
def test_memory_stays_constant(server: Server, client: httpx.Client) -> None:
    (pid,) = server.worker_pids()
    for kind, headers in (("csv", 1), ("ndjson", 0)):
        # The first export loads what later ones use again.
        client.get(EXPORT, params={"format": kind, "created_after": "2999-01-01T00:00:00Z"})
        before = highest = resident_bytes(pid)
        size = lines = 0
        with client.stream("GET", EXPORT, params={"format": kind}) as response:
            assert response.status_code == 200
            for chunk in response.iter_bytes():
                size, lines = size + len(chunk), lines + chunk.count(b"\n")
                highest = max(highest, resident_bytes(pid))
        assert lines == 100_001 + headers
        assert size > 10 * MIB
        assert highest - before < 20 * MIB


def test_the_first_bytes_do_not_wait_for_the_rest(client: httpx.Client) -> None:
    started = time.monotonic()
    with client.stream("GET", EXPORT) as response:
        chunks = response.iter_raw()
        next(chunks)
        first = time.monotonic() - started
        for _ in chunks:
            pass
    # A comparison of one response with itself, which does not depend on the machine.
    assert first < (time.monotonic() - started) / 4


def test_a_client_that_hangs_up_ends_the_reads(client: httpx.Client, own_database_url: str) -> None:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")

        def reads() -> int:
            found = connection.execute(
                "SELECT coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_user_tables"
                " WHERE relname = 'users'"
            ).fetchone()
            assert found is not None
            return int(found[0])

        with client.stream("GET", EXPORT) as response:
            next(response.iter_raw())
        # The number does not change any more, although most accounts have not been read.
        seen = [-1]
        while seen[-1] != (now := reads()) or now == 0:
            seen.append(now)
            time.sleep(2)  # Statistics arrive within a second.
        assert seen[-1] < 10_000
        running = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        assert running.rowcount == 0
    # The server goes on.
    assert client.get("/api/v1/users/me").status_code == 200


def test_a_client_that_reads_slowly_holds_no_connection_of_the_database(
    client: httpx.Client, own_database_url: str
) -> None:
    with (
        psycopg.connect(own_database_url, autocommit=True) as connection,
        client.stream("GET", EXPORT) as response,
    ):
        chunks = response.iter_raw()
        next(chunks)
        # The buffers of both sides are full after a while.
        time.sleep(2)
        found = connection.execute(
            "SELECT state, xact_start FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
        assert {state for state, _ in found} <= {"idle"}
        assert all(started is None for _, started in found)
        # The rest arrives nevertheless.
        assert sum(chunk.count(b"\n") for chunk in chunks) > 10_000
