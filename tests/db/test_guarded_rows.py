"""`commit_with`: one statement stores a row and the row of a guard, or neither."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import MetaData, bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.base import uuid7
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import is_unavailable, violated_constraint
from backend.db.inserts import Guard, insert_row
from backend.db.transactions import TransactionSession, commit_with, discard
from tests.databases import proxy
from tests.db.conftest import MakeDatabase
from tests.statements import Statements, waits_for_a_lock

TABLES = """
CREATE TABLE made_lids (id uuid PRIMARY KEY, number integer, tags jsonb);
CREATE TABLE made_boxes (
    id uuid PRIMARY KEY, number integer CONSTRAINT uq_boxes_number UNIQUE, tags jsonb,
    at timestamptz DEFAULT now()
)
"""
REFUSE_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused at commit' USING ERRCODE = '23514'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON made_boxes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""
_PIDS = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'trellis'"
)
LOCK = "SELECT pg_try_advisory_xact_lock(%(lock)s)"


class _Base(SQLModel):
    metadata = MetaData()


class Lid(_Base, table=True):
    __tablename__ = "made_lids"

    id: UUID = Field(primary_key=True)
    number: int
    tags: list[str] = Field(sa_type=JSONB)


class Box(_Base, table=True):
    __tablename__ = "made_boxes"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    number: int
    tags: dict[str, Any] = Field(sa_type=JSONB)
    at: str | None = Field(
        default=None, sa_column_kwargs={"default": func.date_trunc("day", func.now())}
    )


_LIDS = Lid.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
# Its parameters have the names of the row's.
GUARD = Guard(
    insert(_LIDS)
    .from_select(
        ["id", "number", "tags"],
        select(
            *(bindparam(name, type_=_LIDS.c[name].type) for name in ("id", "number", "tags"))
        ).where(func.pg_try_advisory_xact_lock(bindparam("lock"))),
    )
    .on_conflict_do_nothing()
    .returning(_LIDS.c.id)
)


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES)
        yield connection


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    return make_database()


async def insert_box(session: AsyncSession, number: int) -> None:
    await insert_row(session, Box, {"number": number, "tags": {"of": "box"}})


async def commit_guarded(session: AsyncSession, lid: UUID, number: int = 9) -> bool | None:
    values = {"id": lid, "number": number, "tags": ["lid"], "lock": number}
    return await commit_with(session, GUARD.bound(values))


async def store(database: Database, number: int, lid: UUID) -> bool | None:
    async with database.transaction() as session:
        await insert_box(session, number)
        return await commit_guarded(session, lid)


def boxes(db: psycopg.Connection) -> list[Any]:
    return db.execute("SELECT number, tags FROM made_boxes ORDER BY number").fetchall()


def lids(db: psycopg.Connection) -> list[Any]:
    return db.execute("SELECT number, tags FROM made_lids").fetchall()


async def test_one_statement_stores_both_rows(
    db: psycopg.Connection, database: Database, statements: Statements
) -> None:
    await store(database, 0, uuid4())
    db.execute("TRUNCATE made_boxes, made_lids")
    statements.clear()
    async with database.transaction() as session:
        await insert_box(session, 1)
        assert await commit_guarded(session, uuid4()) is True
        assert boxes(db) == [(1, {"of": "box"})]
    assert isinstance(session, TransactionSession)
    assert not session.is_open
    assert lids(db) == [(9, ["lid"])]
    assert len(statements) == 1
    assert db.execute("SELECT at <= now() FROM made_boxes").fetchall() == [(True,)]


async def test_without_a_row_of_the_guard_nothing_is_stored(
    db: psycopg.Connection, database: Database
) -> None:
    lid = uuid4()
    assert await store(database, 1, lid) is True
    assert await store(database, 2, lid) is False
    with db.transaction():
        db.execute(LOCK, {"lock": 9})
        assert await store(database, 3, uuid4()) is False
    assert await store(database, 4, uuid4()) is True
    assert [number for number, _ in boxes(db)] == [1, 4]
    assert len(lids(db)) == 2


@pytest.mark.parametrize("failure", ["row", "guard", "lock timeout"])
async def test_errors_store_nothing_and_keep_the_connection(
    failure: str, db: psycopg.Connection, database: Database
) -> None:
    assert await store(database, 1, uuid4()) is True
    pid = db.execute(_PIDS).fetchall()
    if failure == "row":
        with pytest.raises(IntegrityError) as raised:
            await store(database, 1, uuid4())
        assert violated_constraint(raised.value) == "uq_boxes_number"
        # Parameters may be personal data.
        assert raised.value.params is None
    elif failure == "guard":
        db.execute("ALTER TABLE made_lids ADD CONSTRAINT few CHECK (number < 0) NOT VALID")
        with pytest.raises(IntegrityError):
            await store(database, 2, uuid4())
        db.execute("ALTER TABLE made_lids DROP CONSTRAINT few")
    else:
        with db.transaction():
            db.execute("LOCK TABLE made_boxes")
            with pytest.raises(DBAPIError, match="lock timeout") as timed_out:
                await store(database, 2, uuid4())
        assert is_unavailable(timed_out.value)
    assert await store(database, 3, uuid4()) is True
    assert [number for number, _ in boxes(db)] == [1, 3]
    assert len(lids(db)) == 2
    if failure != "lock timeout":
        assert db.execute(_PIDS).fetchall() == pid


async def test_a_failure_of_the_commit_is_an_error(
    db: psycopg.Connection, database: Database
) -> None:
    db.execute(REFUSE_AT_COMMIT)
    with pytest.raises(IntegrityError, match="refused at commit"):
        await store(database, 1, uuid4())
    db.execute("DROP TRIGGER refuse ON made_boxes")
    assert (boxes(db), lids(db)) == ([], [])
    assert await store(database, 2, uuid4()) is True


async def test_a_lost_connection_is_an_error_and_replaced(
    db: psycopg.Connection, database_url: str, database: Database
) -> None:
    assert await store(database, 1, uuid4()) is True
    with db.transaction():
        db.execute("LOCK TABLE made_boxes")
        waiting = asyncio.create_task(store(database, 2, uuid4()))
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await waits_for_a_lock(other, waiting)
        db.execute(_PIDS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)", 1))
    with pytest.raises(DBAPIError) as raised:
        await waiting
    assert is_unavailable(raised.value)
    assert await store(database, 3, uuid4()) is True
    assert [number for number, _ in boxes(db)] == [1, 3]


async def test_a_silent_server_is_an_error(
    db: psycopg.Connection, database_url: str, make_database: MakeDatabase
) -> None:
    flows = asyncio.Event()
    flows.set()
    async with proxy(database_url, flows) as url:
        database = make_database(url=url, timeouts=Timeouts(connect=0.3, statement=0.2, lock=0.2))
        assert await store(database, 1, uuid4()) is True
        flows.clear()
        with pytest.raises(DBAPIError) as raised:
            await store(database, 2, uuid4())
        assert is_unavailable(raised.value)
        flows.set()
        assert await store(database, 3, uuid4()) is True


async def open_session(session: AsyncSession) -> None:
    await session.connection()


async def insert_another(session: AsyncSession) -> None:
    await insert_box(session, 2)


async def undo(session: AsyncSession) -> None:
    await discard(session)


@pytest.mark.parametrize("act", [open_session, insert_another, undo])
async def test_other_transactions_are_committed_as_usual(
    act: Callable[[AsyncSession], Awaitable[None]], db: psycopg.Connection, database: Database
) -> None:
    async with database.transaction() as session:
        await insert_box(session, 1)
        await act(session)
        assert await commit_guarded(session, uuid4()) is None
    assert lids(db) == []
    assert len(boxes(db)) == (0 if act is undo else 1 + (act is insert_another))


async def test_poolers_get_a_transaction(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    database = make_database(pooled=True)
    assert await store(database, 1, uuid4()) is None
    assert (len(boxes(db)), lids(db)) == (1, [])
