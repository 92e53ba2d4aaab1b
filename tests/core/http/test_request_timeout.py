"""`REQUEST_TIMEOUT` cancels the statements of a request, but no COMMIT, body or response."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.responses import StreamingResponse
from sqlalchemy import MetaData, text
from sqlmodel import Field, SQLModel
from starlette.types import Message

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.http.dependencies import CurrentContext
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.schemas import Schema
from backend.db.inserts import insert_row
from tests.applications import make_app, make_context
from tests.commands import PATIENCE

LIMIT = 0.4
router = Router(prefix="/made-slow")


class Slow(SQLModel, table=True):
    __tablename__ = "made_slow"
    metadata = MetaData()

    number: int = Field(primary_key=True)


class Note(Schema):
    text: str


@router.get("/statement", dependencies=[public])
async def statement(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        await session.exec(text("SELECT pg_sleep(20)"))  # type: ignore[call-overload]  # plain SQL


@router.post("/commit", dependencies=[public], status_code=201, idempotent=False)
async def commit(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        await session.exec(text("INSERT INTO made_slow VALUES (1)"))  # type: ignore[call-overload]  # plain SQL


@router.post("/row", dependencies=[public], status_code=201, idempotent=False)
async def row(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        await insert_row(session, Slow, {"number": 1})


@router.post("/begun", dependencies=[public], status_code=201, idempotent=False)
async def begun(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        await insert_row(session, Slow, {"number": 1})
        # Begins the session, without a statement.
        session.add(other := Slow(number=2))
        session.expunge(other)


@router.post("/object", dependencies=[public], status_code=201, idempotent=False)
async def mapped_object(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        session.add(Slow(number=1))


@router.post("/late", dependencies=[public], status_code=201, idempotent=False)
async def late(context: CurrentContext) -> None:
    async with context.database.transaction() as session:
        await session.exec(text("INSERT INTO made_slow VALUES (2)"))  # type: ignore[call-overload]  # plain SQL
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            # A library may await while it cleans up; the limit applies nevertheless.
            await asyncio.sleep(0)
            raise


@router.post("/body", dependencies=[public])
async def body(note: Note) -> Note:
    return note


@router.get("/stream", dependencies=[public])
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"part "
            await asyncio.sleep(LIMIT / 2)

    return StreamingResponse(parts(), media_type="text/plain")


MODULE = Module(name="made_slow", router=router)


@pytest.fixture
async def context(own_database_url: str) -> AsyncIterator[Context]:
    with psycopg.connect(own_database_url) as connection:
        connection.execute("CREATE TABLE made_slow (number int)")
        connection.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON made_slow INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION wait()"
        )
    made = make_context(
        own_database_url,
        (MODULE,),
        request_timeout=LIMIT,
        database_pool_size=2,  # one for transactions
        database_pool_timeout=10 * PATIENCE,
    )
    made.state.started = True
    yield made
    await made.database.close()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(context, (MODULE,)))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost/api/v1/made-slow"
    ) as made:
        yield made


def rows(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT number FROM made_slow").fetchall()


async def test_a_slow_statement_ends_and_is_503(
    client: httpx.AsyncClient, own_database_url: str
) -> None:
    async with asyncio.timeout(10):
        answer = await client.get("/statement")
    assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["retry-after"]
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        # The server notices the closed connection within a second.
        async with asyncio.timeout(10):
            while connection.execute(  # noqa: ASYNC110  # the state of another process
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
                " AND state = 'active' AND datname = current_database()"
            ).fetchone():
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("path", ["/commit", "/row"])
async def test_a_commit_is_not_interrupted(
    client: httpx.AsyncClient, own_database_url: str, path: str
) -> None:
    assert (await client.post(path)).status_code == 201
    assert rows(own_database_url) == [(1,)]


@pytest.mark.parametrize("path", ["/row", "/begun", "/object"])
async def test_the_wait_of_a_commit_for_a_connection_ends(
    client: httpx.AsyncClient, context: Context, own_database_url: str, path: str
) -> None:
    """These transactions take their connection when they commit."""
    async with context.database.transaction() as session, asyncio.timeout(PATIENCE):
        await session.connection()
        answer = await client.post(path)
    assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert rows(own_database_url) == []
    assert context.database.pools["transactions"].in_use == 0


async def test_nothing_is_stored_once_the_time_has_passed(
    client: httpx.AsyncClient, own_database_url: str
) -> None:
    assert (await client.post("/late")).status_code == 503
    assert rows(own_database_url) == []


@pytest.mark.slow
async def test_the_time_of_a_body_does_not_count(context: Context) -> None:
    from tests.hostile import raw

    app = make_app(context, (MODULE,))
    pieces = iter([b'{"text": ', b'"a', b'b"', b"}"])

    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        async def receive_slowly() -> Message:
            await asyncio.sleep(LIMIT)
            message: Message = await receive()
            return message

        await app(scope, receive_slowly, send)

    answer = await raw(
        slowly,
        "POST",
        "/api/v1/made-slow/body",
        headers=[(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
        chunks=pieces,
    )
    assert (answer.status, answer.json()) == (200, {"text": "ab"})


async def test_a_response_that_has_begun_is_not_interrupted(client: httpx.AsyncClient) -> None:
    answer = await client.get("/stream", headers={"Accept": "*/*"})
    assert answer.text == "part " * 4
