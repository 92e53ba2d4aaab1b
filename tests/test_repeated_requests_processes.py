"""Repeated requests over several processes: with lost responses, kills and a pooler."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.actors import PASSWORD
from tests.commands import eventually
from tests.poolers import pooler
from tests.processes import Server, served

pytestmark = pytest.mark.slow

ITEMS = "/api/v1/items"
CALLERS = 5


async def sign_in(client: httpx.AsyncClient) -> None:
    account = {"email": "ada@example.com", "password": PASSWORD}
    assert (await client.post("/api/v1/auth/register", json=account)).status_code == 201
    tokens = (await client.post("/api/v1/auth/login", json=account)).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"


async def hammer(url: str, keys: int) -> int:
    """Create an item with each key from several callers at once; return the aborted requests.

    A third of the first attempts are aborted by the client, most of them while the server works.
    Every caller repeats its request until it gets a response.
    """
    chance = Random(12)  # noqa: S311  # reproducible choices
    running = asyncio.Semaphore(8)
    aborted = 0

    async def insist(client: httpx.AsyncClient, key: int) -> bytes:
        nonlocal aborted
        headers = {"Idempotency-Key": f"key-{key}"}
        patience: float | None = chance.random() * 0.05 if chance.random() < 1 / 3 else None
        for _ in range(200):
            try:
                async with asyncio.timeout(patience):
                    answer = await client.post(ITEMS, json={"title": str(key)}, headers=headers)
            except TimeoutError:
                aborted += 1
                patience = None
                continue
            if answer.status_code == 201:
                return answer.content
            assert answer.json()["error"] == "IDEMPOTENCY_IN_PROGRESS", answer.text
            await asyncio.sleep(0.02)
        raise AssertionError("no response after 200 attempts")

    async def create(client: httpx.AsyncClient, key: int) -> None:
        async with running:
            contents = await asyncio.gather(*(insist(client, key) for _ in range(CALLERS)))
        assert len(set(contents)) == 1

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await sign_in(client)
        await asyncio.gather(*(create(client, key) for key in range(keys)))
    return aborted


def counts(url: str) -> tuple[int, ...]:
    """Return the numbers of items, of different titles, and of keys."""
    with psycopg.connect(url) as connection:
        (found,) = connection.execute(
            "SELECT count(*), count(DISTINCT title), (SELECT count(*) FROM idempotency_keys)"
            " FROM items"
        )
    return tuple(found)


@pytest.mark.timeout(600)
def test_a_thousand_keys_make_a_thousand_rows(own_database_url: str) -> None:
    with served(own_database_url, workers=2) as server:
        aborted = asyncio.run(hammer(server.url, 1000))
    assert aborted > 100
    assert counts(own_database_url) == (1000, 1000, 1000)


def test_keys_work_behind_a_pooler_of_transactions(own_database_url: str) -> None:
    settings = {"DATABASE_POOLER": "transaction", "DATABASE_DIRECT_URL": own_database_url}
    with (
        pooler(own_database_url, default_pool_size=4) as bouncer,
        served(bouncer.url, workers=2, **settings) as server,
    ):
        asyncio.run(hammer(server.url, 60))
    assert counts(own_database_url) == (60, 60, 60)


class CommitProxy:
    """A proxy to PostgreSQL that withholds the result of the first commit of a stored response.

    `committed` is set when PostgreSQL has committed; the connection then stays silent.
    """

    def __init__(self, url: str) -> None:
        server = conninfo_to_dict(url)
        self._address = f"{server['host']}/.s.PGSQL.{server.get('port', 5432)}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"
        self.committed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                database = socket.socket(socket.AF_UNIX)
                database.connect(self._address)
                silent = threading.Event()
                for pump in (self._to_database, self._to_client):
                    arguments = (client, database, silent)
                    threading.Thread(target=pump, args=arguments, daemon=True).start()

    def _to_database(
        self, client: socket.socket, database: socket.socket, silent: threading.Event
    ) -> None:
        is_keyed = False
        with client, database, suppress(OSError):
            while data := client.recv(65536):
                is_keyed = is_keyed or b"INSERT INTO idempotency_keys" in data
                # A statement that also inserts the row is a transaction of its own.
                commits = b"COMMIT" in data or b"WITH guard AS" in data
                if is_keyed and commits and not self.committed.is_set():
                    silent.set()
                database.sendall(data)
            # Ends the other thread.
            database.shutdown(socket.SHUT_RDWR)

    def _to_client(
        self, client: socket.socket, database: socket.socket, silent: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := database.recv(65536):
                if silent.is_set():
                    # The result of the commit, which the server never gets.
                    self.committed.set()
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def commit_proxy(url: str) -> Iterator[CommitProxy]:
    made = CommitProxy(url)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [(ITEMS, {"title": "Tea"}), (f"{ITEMS}/bulk", {"data": [{"title": "Tea"}]})],
    ids=["one statement", "COMMIT"],
)
def test_a_process_killed_between_commit_and_response(
    path: str, body: dict[str, Any], own_database_url: str
) -> None:
    with (
        commit_proxy(own_database_url) as proxy,
        served(proxy.url, workers=2, DATABASE_DIRECT_URL=own_database_url) as server,
    ):
        asyncio.run(_lose_a_response(server, proxy, path, body))
    assert counts(own_database_url) == (1, 1, 1)


async def _lose_a_response(
    server: Server, proxy: CommitProxy, path: str, body: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await sign_in(client)
        client.headers["Idempotency-Key"] = "lost"
        lost = asyncio.create_task(client.post(path, json=body))
        assert await asyncio.to_thread(proxy.committed.wait, 30)
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            await lost
        await asyncio.to_thread(eventually, lambda: _is_back(server))
        answer = await client.post(path, json=body)
        assert answer.status_code == 201
        assert answer.headers["idempotency-replayed"] == "true"
        (stored,) = (await client.get(ITEMS)).json()["data"]
        assert answer.json() in (stored, {"data": [stored]})


def _is_back(server: Server) -> bool:
    with suppress(OSError):
        return server.has_all_workers() and server.is_ready()
    return False
