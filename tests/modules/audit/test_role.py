"""The application runs under a role without ownership, as docs/operations.md describes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import service as audit
from backend.modules.audit.sealing import seal_waiting
from tests.applications import MODULES, make_context

DOCUMENT = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()


def documented_grants(name: str) -> list[str]:
    """Return the statements of docs/operations.md, for a role of this name."""
    (block,) = re.findall(r"```sql\n(CREATE ROLE .*?)```", DOCUMENT, re.DOTALL)
    return [part.strip() for part in block.replace("trellis_api", name).split(";") if part.strip()]


@pytest.fixture
async def context(own_database_url: str) -> AsyncIterator[Context]:
    name = f"api_{uuid4().hex}"
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        for statement in documented_grants(name):
            connection.execute(statement.encode())
        made = make_context(own_database_url.replace("postgres@", f"{name}@"))
        yield made
        await made.database.close()
        role = Identifier(name)
        connection.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


async def test_everything_works_but_changing_the_record(context: Context) -> None:
    for module in MODULES:
        if module.startup:
            await module.startup(context)
    async with context.database.transaction() as session:
        await audit.record(session, "test.done")
    await seal_waiting(context)
    assert (await audit.verify(context, SYSTEM)).events == 1
    for statement in (
        "UPDATE audit_events SET ip = ''",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "DROP TRIGGER audit_events_kept ON audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "UPDATE audit_seals SET key_id = ''",
    ):
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            await run(context, statement)


async def run(context: Context, statement: str) -> None:
    async with context.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(text(statement))
