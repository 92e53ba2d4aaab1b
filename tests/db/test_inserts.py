"""`insert_row`: a row alone is its own transaction; with others it belongs to theirs."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Column, Computed, Integer, MetaData, Numeric, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Field, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.base import uuid7
from backend.db.connections import Timeouts
from backend.db.database import Database, after_commit
from backend.db.errors import CommitAndRaise, is_unavailable, violated_constraint
from backend.db.inserts import insert_row
from backend.db.transactions import TransactionSession, discard
from backend.telemetry.database import DatabaseObserver
from tests.commands import PATIENCE
from tests.databases import proxy
from tests.db.conftest import MakeDatabase

TABLE = """
CREATE TABLE made_pots (
    id uuid PRIMARY KEY, number integer CONSTRAINT uq_pots_number UNIQUE, size numeric,
    labels jsonb, doubled integer GENERATED ALWAYS AS (number * 2) STORED, serial serial
)
"""
JARS = """
CREATE TABLE made_jars (
    id serial PRIMARY KEY, lid text, colour text DEFAULT 'grey', shape text, weight integer,
    height integer, price integer
)
"""
# The row is inserted, and then its commit fails.
REFUSE_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused at commit' USING ERRCODE = '23514'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON made_pots
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""


class _Base(SQLModel):
    metadata = MetaData()


class Pot(_Base, table=True):
    __tablename__ = "made_pots"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    number: int
    size: Decimal | None = Field(default=None, sa_type=Numeric)
    labels: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    doubled: int | None = Field(
        default=None, sa_column=Column(Integer, Computed("number * 2", persisted=True))
    )
    serial: int | None = Field(default=None, sa_column_kwargs={"server_default": text("1")})


class Jar(_Base, table=True):
    __tablename__ = "made_jars"

    # The statement returns it.
    id: int | None = Field(default=None, primary_key=True)
    lid: str | None = None
    colour: str | None = Field(default=None, sa_column_kwargs={"server_default": "grey"})
    shape: str = Field(default="round", sa_column_kwargs={"server_default": "square"})
    weight: int | None = Field(default=None, sa_column_kwargs={"default": 3})
    height: int | None = Field(default=None, sa_column_kwargs={"default": lambda: 4})
    price: int | None = Field(default=None, sa_column_kwargs={"default": func.length("tea") + 2})


class CountedRefusal(Exception, CommitAndRaise):
    pass


class Observer(DatabaseObserver):
    def __init__(self) -> None:
        super().__init__()
        self.statements: list[tuple[str, BaseException | None]] = []

    def statement(self, sql: str, seconds: float, error: BaseException | None = None) -> None:
        self.statements.append((sql, error))


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection outside the application; it creates the table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLE)
        yield connection


@pytest.fixture
def database(make_database: MakeDatabase) -> Database:
    """A database with one connection for transactions, which rows alone use as well."""
    return make_database()


def numbers(db: psycopg.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT number FROM made_pots ORDER BY number")]


async def insert(session: AsyncSession, number: int) -> dict[str, Any]:
    return await insert_row(session, Pot, {"number": number})


async def insert_alone(database: Database, number: int) -> None:
    async with database.transaction() as session:
        await insert(session, number)


async def insert_jar(database: Database) -> None:
    async with database.transaction() as session:
        await insert_row(session, Jar, {})


async def prepare_jars(database: Database, size: int) -> None:
    """Insert jars on `size` connections until each has a prepared statement."""
    for _ in range(8):
        await asyncio.gather(*(insert_jar(database) for _ in range(size)))


async def failures(database: Database, number: int) -> list[BaseException]:
    """Insert jars one by one, and return the errors."""
    errors: list[BaseException] = []
    for _ in range(number):
        try:
            await insert_jar(database)
        except DBAPIError as error:
            errors.append(error)
    return errors


async def count(session: AsyncSession) -> int:
    return (await session.exec(select(func.count()).select_from(Pot))).one()


async def test_a_row_alone_opens_no_session_and_is_stored_by_the_commit(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    observer = Observer()
    database = make_database(observer=observer)
    async with database.transaction() as session:
        await insert(session, 1)
        assert numbers(db) == []
    assert isinstance(session, TransactionSession)
    assert not session.is_open
    assert numbers(db) == [1]
    ((sql, error),) = observer.statements
    assert sql.startswith("INSERT INTO made_pots")
    assert error is None


async def test_values_and_defaults_are_stored_as_with_mapped_objects(
    db: psycopg.Connection, database: Database
) -> None:
    labels = {"a": [1, None, "é"]}
    async with database.transaction() as session:
        row = await insert_row(
            session, Pot, {"number": 4, "labels": labels, "size": Decimal("1.5")}
        )
        # The second one belongs to a transaction.
        await insert_row(session, Pot, {"number": 5, "labels": labels})
    assert {name: row[name] for name in ("number", "labels", "size")} == {
        "number": 4,
        "labels": labels,
        "size": Decimal("1.5"),
    }
    assert not row.keys() & {"doubled", "serial"}
    query = "SELECT number, labels, size, doubled FROM made_pots ORDER BY number"
    assert db.execute(query).fetchall() == [(4, labels, Decimal("1.5"), 8), (5, labels, None, 10)]
    assert db.execute("SELECT id FROM made_pots WHERE number = 4").fetchone() == (row["id"],)


@pytest.mark.parametrize("alone", [True, False])
async def test_defaults_are_those_of_mapped_objects(
    db: psycopg.Connection, database: Database, alone: bool
) -> None:
    db.execute(JARS)
    async with database.transaction() as session:
        if not alone:
            await session.connection()
        row = await insert_row(session, Jar, {})
    async with database.transaction() as session:
        session.add(Jar())
    assert row == {"lid": None, "shape": "round", "weight": 3, "height": 4}
    query = "SELECT lid, colour, shape, weight, height, price FROM made_jars"
    assert db.execute(query).fetchall() == [(None, "grey", "round", 3, 4, 5)] * 2


async def test_other_statements_of_the_session_find_the_row(
    db: psycopg.Connection, database: Database
) -> None:
    async with database.transaction() as session:
        await insert(session, 1)
        assert await count(session) == 1
        await insert(session, 2)
        assert await count(session) == 2
        session.add(Pot(number=3))
        assert numbers(db) == []
    assert numbers(db) == [1, 2, 3]


async def test_mapped_objects_and_the_row_are_stored_together(
    db: psycopg.Connection, database: Database
) -> None:
    async with database.transaction() as session:
        await insert(session, 1)
        session.add(Pot(number=2))
    assert numbers(db) == [1, 2]

    async def conflict() -> None:
        async with database.transaction() as session:
            await insert(session, 3)
            session.add(Pot(number=2))

    with pytest.raises(IntegrityError):
        await conflict()
    assert numbers(db) == [1, 2]


async def test_objects_added_before_are_sent_first(
    db: psycopg.Connection, database: Database
) -> None:
    async with database.transaction() as session:
        session.add(Pot(number=1))
        await insert(session, 2)
    assert db.execute("SELECT number FROM made_pots ORDER BY serial").fetchall() == [(1,), (2,)]


async def test_a_session_that_has_begun_without_a_statement(
    db: psycopg.Connection, database: Database
) -> None:
    async with database.transaction() as session:
        await insert(session, 1)
        pot = Pot(number=2)
        session.add(pot)
        session.expunge(pot)
        assert session.in_transaction()
    assert numbers(db) == [1]


@pytest.mark.parametrize("opens", [False, True])
async def test_exceptions_store_nothing(
    db: psycopg.Connection, database: Database, opens: bool
) -> None:
    async def fail() -> None:
        async with database.transaction() as session:
            await insert(session, 1)
            if opens:
                assert await count(session) == 1
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await fail()
    await insert_alone(database, 2)
    assert numbers(db) == [2]


async def test_a_refusal_that_keeps_changes_keeps_the_row(
    db: psycopg.Connection, database: Database
) -> None:
    async def refuse() -> None:
        async with database.transaction() as session:
            await insert(session, 1)
            raise CountedRefusal

    with pytest.raises(CountedRefusal):
        await refuse()
    assert numbers(db) == [1]


async def test_transactions_on_the_connection_of_rows_alone_are_undone(
    db: psycopg.Connection, database: Database
) -> None:
    """Their connections are the same, and only rows alone need no COMMIT."""
    for number in (1, 2):
        await insert_alone(database, number)
        with suppress(ZeroDivisionError):
            async with database.transaction() as session:
                await session.connection()
                await insert(session, number + 10)
                raise ZeroDivisionError
    assert numbers(db) == [1, 2]
    found = db.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'trellis'"
    ).fetchone()
    assert found == (1,)


async def test_rolling_back_discards_the_row(db: psycopg.Connection, database: Database) -> None:
    async with database.transaction() as session:
        await insert(session, 1)
        await discard(session)
    assert numbers(db) == []
    async with database.transaction() as session:
        await insert(session, 2)
        assert await count(session) == 1
        await discard(session)
        await insert(session, 3)
    assert numbers(db) == [3]


async def test_callbacks_run_after_a_row_alone_and_not_after_its_failure(
    db: psycopg.Connection, database: Database
) -> None:
    seen: list[list[int]] = []

    async def look() -> None:
        seen.append(numbers(db))

    async def insert_and_look(number: int) -> None:
        async with database.transaction() as session:
            await insert(session, number)
            after_commit(session, look)

    await insert_and_look(1)
    with pytest.raises(IntegrityError):
        await insert_and_look(1)
    assert seen == [[1]]


async def test_errors_are_those_of_the_session(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    observer = Observer()
    database = make_database(observer=observer)
    await insert_alone(database, 1)
    with pytest.raises(IntegrityError) as raised:
        await insert_alone(database, 1)
    assert violated_constraint(raised.value) == "uq_pots_number"
    assert observer.statements[-1][1] is raised.value.orig
    # Parameters may be personal data.
    assert raised.value.params is None

    async def fail_at_next_statement() -> None:
        async with database.transaction() as session:
            await insert(session, 1)
            await count(session)

    with pytest.raises(IntegrityError) as raised:
        await fail_at_next_statement()
    assert violated_constraint(raised.value) == "uq_pots_number"
    await insert_alone(database, 2)
    assert numbers(db) == [1, 2]


async def test_a_row_alone_whose_commit_fails_is_not_stored(
    db: psycopg.Connection, database: Database
) -> None:
    db.execute(REFUSE_AT_COMMIT)
    with pytest.raises(IntegrityError, match="refused at commit"):
        await insert_alone(database, 1)
    db.execute("DROP TRIGGER refuse ON made_pots")
    await insert_alone(database, 2)
    assert numbers(db) == [2]


async def test_a_row_alone_waits_no_longer_than_a_transaction(
    db: psycopg.Connection, database: Database
) -> None:
    with db.transaction():
        db.execute("LOCK TABLE made_pots")
        with pytest.raises(Exception, match="lock timeout") as raised:
            await insert_alone(database, 1)
    assert is_unavailable(raised.value)
    await insert_alone(database, 2)
    assert numbers(db) == [2]


async def test_dead_connections_are_replaced(db: psycopg.Connection, database: Database) -> None:
    end = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'trellis'"
    )
    for number in range(3):
        await insert_alone(database, number)
        db.execute(end)
    async with database.transaction() as session:
        await insert(session, 3)
        assert await count(session) == 4
    assert numbers(db) == [0, 1, 2, 3]


async def test_a_changed_column_fails_one_row_at_most(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    """Each connection has prepared a statement that returns the column."""
    db.execute(JARS)
    database = make_database(size=3)
    await prepare_jars(database, 3)
    db.execute("ALTER TABLE made_jars ALTER COLUMN id TYPE bigint")
    errors = await failures(database, 4)
    assert len(errors) <= 1
    assert all(map(is_unavailable, errors))
    await asyncio.gather(*(insert_jar(database) for _ in range(3)))


async def test_a_lost_prepared_statement_fails_one_row(
    db: psycopg.Connection, database: Database
) -> None:
    """As behind a pooler that switches server sessions."""
    db.execute(JARS)
    await prepare_jars(database, 1)
    async with database.transaction() as session:
        # psycopg would notice a DEALLOCATE that it sends itself.
        lose = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"
        await (await session.connection()).exec_driver_sql(lose)
    errors = await failures(database, 10)
    assert len(errors) == 1
    assert all(map(is_unavailable, errors))


@pytest.mark.parametrize("alone", [True, False])
async def test_after_a_silent_loss_no_idle_connection_is_used(
    database_url: str, db: psycopg.Connection, make_database: MakeDatabase, alone: bool
) -> None:
    """Otherwise each of them would let another caller wait for the response timeout."""
    db.execute(JARS)
    flows = asyncio.Event()
    flows.set()
    async with proxy(database_url, flows) as url:
        timeouts = Timeouts(connect=0.2, statement=0.2)
        database = make_database(url=url, size=3, timeouts=timeouts)
        await prepare_jars(database, 3)
        flows.clear()

        async def insert_in_vain() -> None:
            async with database.transaction() as session:
                if not alone:
                    await session.connection()
                await insert_row(session, Jar, {})

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DBAPIError) as raised:
                await insert_in_vain()
        assert is_unavailable(raised.value)
        assert database._pool._idle == []
        flows.set()
        await insert_jar(database)
        await database.close()


async def test_an_idle_connection_keeps_no_values(
    db: psycopg.Connection, database: Database
) -> None:
    await insert_alone(database, 1)
    with pytest.raises(IntegrityError):
        await insert_alone(database, 1)
    (entry,) = database._pool._idle
    assert entry.info["cursor"]._query is None


async def test_with_a_callback_before_commits_the_row_belongs_to_a_transaction(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    async def mark(session: AsyncSession) -> None:
        await insert(session, 10)

    database = make_database(before_commit=mark)
    await insert_alone(database, 1)
    assert numbers(db) == [1, 10]
    with pytest.raises(IntegrityError):
        await insert_alone(database, 2)
    assert numbers(db) == [1, 10]


async def test_behind_a_transaction_pooler_the_row_has_time_limits(
    db: psycopg.Connection, make_database: MakeDatabase
) -> None:
    """Each transaction sets them when it begins."""
    database = make_database(pooled=True)
    with db.transaction():
        db.execute("LOCK TABLE made_pots")
        with pytest.raises(Exception, match="lock timeout"):
            await insert_alone(database, 1)
    await insert_alone(database, 2)
    assert numbers(db) == [2]
