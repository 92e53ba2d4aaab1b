"""The database refuses changes of audit events."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg.sql import SQL, Identifier

from backend.core.context import Context
from backend.db.schema.migrations import alembic_config
from backend.modules.audit.sealing import seal_waiting
from backend.modules.audit.settings import FLOOR_DAYS
from tests.modules.audit.conftest import Write, ids

TABLES = ("audit_events", "audit_seals")
REFUSED = psycopg.errors.InsufficientPrivilege


@pytest.fixture
def owner(own_database_url: str) -> Iterator[psycopg.Connection]:
    """A connection with the role that owns the tables and is not a superuser."""
    name = Identifier(f"owner_{uuid4().hex}")
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {}").format(name))
        for table in (*TABLES, "audit_waiting"):
            connection.execute(SQL("ALTER TABLE {} OWNER TO {}").format(Identifier(table), name))
        connection.execute(SQL("SET ROLE {}").format(name))
        connection.execute(
            "INSERT INTO audit_events (id, occurred_at, action, outcome)"
            " VALUES (gen_random_uuid(), now(), 'test.done', 'success')"
        )
        connection.execute(
            "INSERT INTO audit_seals VALUES (1, now(), 1, '{}', '', NULL, '', '', 'key')"
        )
        yield connection
        connection.execute("RESET ROLE")
        connection.execute(SQL("DROP OWNED BY {}").format(name))
        connection.execute(SQL("DROP ROLE {}").format(name))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("UPDATE {} SET {} = {}", "UPDATE"),
        ("UPDATE {} SET {} = {} WHERE false", "UPDATE"),
        ("DELETE FROM {}", "DELETE"),
        ("TRUNCATE {}", "TRUNCATE"),
        ("TRUNCATE {} CASCADE", "TRUNCATE"),
    ],
)
def test_not_even_the_owner_changes_the_record(
    owner: psycopg.Connection, table: str, statement: str, operation: str
) -> None:
    column = Identifier("ip" if table == "audit_events" else "key_id")
    with pytest.raises(REFUSED) as refused:
        owner.execute(SQL(statement).format(Identifier(table), column, column))
    assert refused.value.diag.message_primary == f"{table} is append-only: {operation} is refused"
    assert "AUDIT_RETENTION_DAYS" in (refused.value.diag.message_hint or "")
    count = SQL("SELECT count(*) FROM {}").format(Identifier(table))
    assert owner.execute(count).fetchone() == (1,)


def test_no_other_statement_that_updates_gets_round_it(owner: psycopg.Connection) -> None:
    merge = "MERGE INTO audit_events USING (SELECT 1) AS one ON true WHEN MATCHED THEN"
    again = "INSERT INTO audit_events SELECT * FROM audit_events ON CONFLICT (id) DO UPDATE"
    for statement in (f"{again} SET ip = ''", f"{merge} UPDATE SET ip = ''", f"{merge} DELETE"):
        with pytest.raises(REFUSED):
            owner.execute(statement.encode())


@pytest.mark.parametrize(
    ("days_ago", "deletable"),
    [(0, False), (FLOOR_DAYS - 1, False), (FLOOR_DAYS + 1, True), (-2, True)],
)
async def test_only_what_is_older_than_the_floor_can_be_deleted(
    database: psycopg.Connection, write: Write, days_ago: int, deletable: bool
) -> None:
    await write(2, days_ago=days_ago)
    if deletable:
        assert database.execute("DELETE FROM audit_events").rowcount == 2
    else:
        with pytest.raises(REFUSED):
            database.execute("DELETE FROM audit_events")
        assert len(ids(database)) == 2


async def test_a_young_row_keeps_its_neighbours(database: psycopg.Connection, write: Write) -> None:
    await write(1, days_ago=FLOOR_DAYS + 1)
    await write(1)
    with pytest.raises(REFUSED):
        database.execute("DELETE FROM audit_events")
    assert len(ids(database)) == 2


async def test_seals_are_kept_like_events(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    await write()
    await seal_waiting(context)
    with pytest.raises(REFUSED):
        database.execute("DELETE FROM audit_seals")


async def test_the_migration_can_be_taken_back(own_database_url: str) -> None:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO audit_events (id, occurred_at, action, outcome)"
            " VALUES (gen_random_uuid(), now(), 'test.done', 'success')"
        )
        with alembic_config(own_database_url) as config:
            command.downgrade(config, "0002")
        left = "SELECT FROM pg_proc WHERE proname LIKE 'audit%' UNION ALL"
        left += " SELECT FROM pg_class WHERE relname LIKE '%audit%'"
        assert connection.execute(left.encode()).fetchall() == []
